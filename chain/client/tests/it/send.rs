//! Every operation can run in a task that moves between threads; this file need only compile.

use std::pin::Pin;

use glia_chain_client::{Call, Chain, EnrolRequest, Keypair};

type Boxed<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Boxed behind a trait, where the compiler must prove it for every lifetime of the borrow.
trait Port {
    fn all<'a>(&'a self, key: &'a Keypair, call: &'a Call, request: EnrolRequest<'a>) -> Boxed<'a>;
}

impl Port for Chain {
    fn all<'a>(&'a self, key: &'a Keypair, call: &'a Call, request: EnrolRequest<'a>) -> Boxed<'a> {
        Box::pin(async move {
            self.block_number().await.ok();
            self.metagraph(1).await.ok();
            self.hyperparameters(1).await.ok();
            self.next_epoch_block(1).await.ok();
            self.weights(1, 0).await.ok();
            self.balance(key.account()).await.ok();
            self.uid_of(1, key.account()).await.ok();
            self.owner(key.account()).await.ok();
            self.stake(key.account(), 1).await.ok();
            self.burn_cost(1).await.ok();
            self.subnet_exists(1).await.ok();
            self.wait_for_block(1).await.ok();
            self.submit(call, key).await.ok();
            self.set_weights(key, 1, &[(0, 1)], 0).await.ok();
            self.enrol(request, |_| {}).await.ok();
        })
    }
}

#[test]
fn operations_are_send_behind_a_trait() {
    fn is_port<T: Port + Clone + Send + Sync + 'static>() {}
    is_port::<Chain>();
    // Taken, not called: a chain is not needed to see the types.
    let _ = <Chain as Port>::all;
}

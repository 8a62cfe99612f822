//! Audits on a network of experts that sign what they answer, some of them lies.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use glia_chain_client::Keypair;
use glia_peer::Identity;
use glia_protocol::gossip::Heartbeat;
use glia_protocol::signature::{Binding, Signature};
use glia_protocol::{
    ContentHash, ExpertDescriptor, ForwardRequest, ForwardResponse, Hotkey, PeerId, Receipt, RequestId, SubnetName,
    Tensor,
};
use glia_router::audit::book::Line;
use glia_router::audit::record::{CLOSED, FIRST};
use glia_router::audit::{AuditBook, Bundle, NoProof, Recompute};
use glia_router::dispatch::inputs::Inputs;
use glia_router::pipeline::{Inquiry, infer};
use glia_router::subnet::Subnet;
use glia_router::transport::{CallError, LookupError, Transport};
use glia_router::{Parts, Policy, Router};
use tokio::sync::broadcast;

use crate::mesh::{CLASSES, Manner, NETUID, REGIONS, answer, descriptor, hurried, image, schema, until, view};

/// What an expert signs.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Signs {
    /// What it answers.
    Truly,
    /// Nothing.
    Nothing,
    /// An answer that it does not give.
    Otherwise,
    /// Not itself: with another's key.
    AsAnother,
}

struct Expert {
    identity: Identity,
    descriptor: ExpertDescriptor,
    file: Bytes,
    /// What it hands out instead of its file.
    hands_out: Option<Result<Bytes, String>>,
    says: Manner,
    signs: Signs,
    calls: usize,
}

/// Experts that sign.
struct Signers {
    experts: Mutex<BTreeMap<PeerId, Expert>>,
    beats: broadcast::Sender<Heartbeat>,
    fetches: AtomicUsize,
}

/// The file of an expert that knows some regions.
fn file(regions: &[usize]) -> Bytes {
    regions.iter().map(|region| format!("{region} ")).collect::<String>().into_bytes().into()
}

fn identity(n: u8) -> Identity {
    Identity::from_seed([n; 32])
}

fn key(n: u8) -> PeerId {
    identity(n).peer_id()
}

fn keypair(n: u8) -> Keypair {
    Keypair::from_seed([n + 50; 32]).unwrap()
}

fn hotkey(n: u8) -> Hotkey {
    Hotkey(keypair(n).account().0)
}

impl Signers {
    /// Experts numbered from 1: the first four know a region each, then come `more`, which say that they know all.
    fn with(more: usize) -> Arc<Self> {
        let all: Vec<usize> = (0..REGIONS).collect();
        let known = (0..REGIONS).map(|region| vec![region]).chain((0..more).map(|_| all.clone()));
        let mut experts = BTreeMap::new();
        for (n, regions) in (1..).zip(known) {
            // A trailing blank makes files of the same knowledge different files.
            let file: Bytes = [file(&regions).as_ref(), " ".repeat(n.into()).as_bytes()].concat().into();
            let (identity, keypair, network) = (identity(n), keypair(n), "test".parse().unwrap());
            let (peer, hotkey) = (identity.peer_id(), hotkey(n));
            let binding = Binding {
                by_peer: identity.sign(&Binding::message_for_peer(&network, &peer, &hotkey)),
                by_hotkey: Signature(keypair.sign(&Binding::message_for_hotkey(&network, &peer, &hotkey))),
            };
            let descriptor = ExpertDescriptor {
                peer,
                hotkey,
                binding,
                checkpoint: ContentHash::of(&file),
                published: Some(file.len() as u64),
                ..descriptor(n, &regions)
            };
            let says = Manner::Knows(regions, 0.9);
            let expert = Expert { identity, descriptor, file, hands_out: None, says, signs: Signs::Truly, calls: 0 };
            experts.insert(peer, expert);
        }
        let beats = broadcast::Sender::new(64);
        Arc::new(Self { experts: Mutex::new(experts), beats, fetches: AtomicUsize::new(0) })
    }

    fn change(&self, n: u8, act: impl FnOnce(&mut Expert)) {
        act(self.experts.lock().unwrap().get_mut(&key(n)).unwrap());
    }

    fn calls(&self, n: u8) -> usize {
        self.experts.lock().unwrap()[&key(n)].calls
    }
}

impl Transport for Signers {
    fn find_providers<'a>(
        &'a self,
        _subnet: &'a SubnetName,
        _region: u8,
        _shard: u8,
    ) -> BoxFuture<'a, Result<Vec<PeerId>, LookupError>> {
        let found: Vec<PeerId> = self.experts.lock().unwrap().keys().copied().collect();
        Box::pin(async move { Ok(found) })
    }

    fn describe<'a>(
        &'a self,
        peer: PeerId,
        _subnet: &'a SubnetName,
    ) -> BoxFuture<'a, Result<Vec<ExpertDescriptor>, LookupError>> {
        let described = self.experts.lock().unwrap()[&peer].descriptor.clone();
        Box::pin(async move { Ok(vec![described]) })
    }

    fn forward<'a>(
        &'a self,
        peer: PeerId,
        _addresses: &'a [SocketAddr],
        request: ForwardRequest,
        _deadline: Duration,
    ) -> BoxFuture<'a, Result<ForwardResponse, CallError>> {
        let mut experts = self.experts.lock().unwrap();
        let expert = experts.get_mut(&peer).unwrap();
        expert.calls += 1;
        let mut response = ForwardResponse {
            id: request.id,
            checkpoint: request.checkpoint,
            queue_us: 10,
            compute_us: 20,
            batch: request.tensors[0].batch(),
            tensors: vec![rows(&expert.says, &request.tensors[0])],
            receipt: None,
        };
        let receipt = |response: &ForwardResponse| {
            Receipt::sign(peer, &request, response, 1_790_000_000_000, |message| expert.identity.sign(message))
        };
        response.receipt = match expert.signs {
            Signs::Truly => Some(receipt(&response)),
            Signs::Nothing => None,
            Signs::Otherwise => {
                let tensors = vec![rows(&Manner::Uniform, &request.tensors[0])];
                Some(receipt(&ForwardResponse { tensors, ..response.clone() }))
            }
            Signs::AsAnother => {
                let forger = identity(200);
                Some(Receipt::sign(peer, &request, &response, 1, |message| forger.sign(message)))
            }
        };
        Box::pin(async move { Ok(response) })
    }

    fn heartbeats(&self) -> broadcast::Receiver<Heartbeat> {
        self.beats.subscribe()
    }

    fn fetch_checkpoint<'a>(
        &'a self,
        peer: PeerId,
        _addresses: &'a [SocketAddr],
        _subnet: &'a SubnetName,
        checkpoint: ContentHash,
        _max_bytes: u64,
        _deadline: Duration,
    ) -> BoxFuture<'a, Result<Bytes, LookupError>> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        let experts = self.experts.lock().unwrap();
        let expert = &experts[&peer];
        assert_eq!(expert.descriptor.checkpoint, checkpoint);
        let file = expert.hands_out.clone().unwrap_or_else(|| Ok(expert.file.clone()));
        Box::pin(async move { file.map_err(LookupError) })
    }
}

/// What an expert of this manner answers to a batch.
fn rows(manner: &Manner, input: &Tensor) -> Tensor {
    let rows: Vec<f32> = input.data().chunks_exact(16).flat_map(|item| answer(manner, item)).collect();
    Tensor::from_f32("probabilities", &[input.batch(), CLASSES as u32], &rows).unwrap()
}

/// Computes what the files of [`Signers`] answer.
#[derive(Default)]
struct Files {
    /// While set, every computation waits.
    held: AtomicBool,
    computed: AtomicUsize,
}

impl Recompute for Files {
    fn recompute(
        &self,
        subnet: &SubnetName,
        checkpoint: &[u8],
        expected: ContentHash,
        input: &Tensor,
    ) -> Result<Tensor, String> {
        while self.held.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.computed.fetch_add(1, Ordering::SeqCst);
        assert_eq!(ContentHash::of(checkpoint), expected);
        assert_eq!(subnet.as_str(), "vision");
        let text = std::str::from_utf8(checkpoint).map_err(|error| error.to_string())?;
        let regions: Result<Vec<usize>, _> = text.split_whitespace().map(str::parse).collect();
        Ok(rows(&Manner::Knows(regions.map_err(|error| format!("{error}"))?, 0.9), input))
    }
}

fn with_policy(signers: &Arc<Signers>, files: &Arc<Files>, folder: &Path, policy: Policy) -> Parts {
    Parts {
        subnets: vec![view(800)],
        transport: Arc::clone(signers) as Arc<dyn Transport>,
        chain: None,
        recompute: Some(Arc::clone(files) as Arc<dyn Recompute>),
        feedback: None,
        http: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: folder.to_owned(),
        seed: 7,
        policy,
    }
}

async fn start(signers: &Arc<Signers>, files: &Arc<Files>, folder: &Path) -> (Router, Arc<Subnet>) {
    let router = Router::start_with(with_policy(signers, files, folder, hurried())).await.unwrap();
    let subnet = Arc::clone(&router.subnets()[0]);
    (router, subnet)
}

fn line(subnet: &Subnet, n: u8) -> Option<Line> {
    subnet.audits.lines().into_iter().find(|line| line.key.peer == key(n))
}

fn evidence(folder: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder.join("evidence")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "json")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_experts_earn_credibility_in_ten_audits_and_keep_it_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let (signers, files) = (Signers::with(0), Arc::new(Files::default()));
    let (router, subnet) = start(&signers, &files, folder.path()).await;
    until("everybody had ten audits", || (1..=4).all(|n| line(&subnet, n).is_some_and(|l| l.record.audits >= 10)))
        .await;
    for n in 1..=4 {
        let line = line(&subnet, n).unwrap();
        assert!(subnet.audits.credibility(&hotkey(n)) >= 0.8, "{line:?}");
        assert_eq!((line.record.failures, line.record.last.unwrap().result.as_str()), (0, "verified"));
    }
    assert!(signers.fetches.load(Ordering::SeqCst) <= 4, "each checkpoint is fetched once");
    assert!(evidence(folder.path()).is_empty());
    router.stop().await;
    let again = AuditBook::open(folder.path(), NETUID, "", Duration::from_secs(1)).unwrap();
    assert!((1..=4).all(|n| again.credibility(&hotkey(n)) >= 0.8));
    for (kept, was) in again.lines().iter().zip(subnet.audits.lines()) {
        assert_eq!((kept.key, kept.hotkey, &kept.record), (was.key, was.hotkey, &was.record));
        // A number may lose its last digit in text.
        assert!((kept.account.credibility - was.account.credibility).abs() < 1e-9);
    }
    assert_eq!(again.lines().len(), subnet.audits.lines().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn audits_become_rare_and_probes_earn_none() {
    let folder = tempfile::tempdir().unwrap();
    let (signers, files) = (Signers::with(0), Arc::new(Files::default()));
    let (router, subnet) = start(&signers, &files, folder.path()).await;
    until("everybody is audited rarely", || (1..=4).all(|n| line(&subnet, n).is_some_and(|l| l.rate < 0.05))).await;
    let audits: u64 = subnet.audits.lines().iter().map(|line| line.record.audits).sum();
    let calls: usize = (1..=4).map(|n| signers.calls(n)).sum();
    assert!(audits * 2 < calls as u64, "{audits} audits of {calls} calls");
    router.stop().await;
}

/// A liar is condemned by its first audit; the bundle it leaves.
async fn caught(folder: &Path) -> Bundle {
    let (signers, files) = (Signers::with(1), Arc::new(Files::default()));
    signers.change(5, |liar| liar.says = Manner::Noise);
    let (router, subnet) = start(&signers, &files, folder).await;
    until("the liar is condemned", || subnet.audits.condemns(&hotkey(5))).await;
    let found = line(&subnet, 5).unwrap();
    // More of its lies may have been on their way when the first was found out.
    assert!(found.record.failures >= 1);
    assert_eq!((found.account.strikes, found.account.credibility), (1, 0.0));
    assert!(found.record.audits <= u64::from(FIRST), "{found:?}");
    assert_eq!(found.record.last.as_ref().unwrap().result, "failed");
    assert!(subnet.callable(tokio::time::Instant::now()).iter().all(|listed| listed.key.peer != key(5)));
    until("the evidence is noted", || !line(&subnet, 5).unwrap().account.evidence.is_empty()).await;
    let calls = signers.calls(5);
    let scored = subnet.tally.with(|tally| tally.items);
    until("much else is asked", || subnet.tally.with(|tally| tally.items) > scored + 200).await;
    // What was on its way when it was condemned.
    assert!(signers.calls(5) <= calls + 2, "it is not called any more");
    let files = evidence(folder);
    assert_eq!(files.len(), 1);
    assert_eq!(
        files[0].file_name().unwrap().to_str(),
        line(&subnet, 5).unwrap().account.evidence.first().map(String::as_str)
    );
    assert!((1..=4).all(|n| !subnet.audits.condemns(&hotkey(n))));
    router.stop().await;
    Bundle::read(&std::fs::read(&files[0]).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_is_condemned_by_an_audit_and_its_evidence_convinces_anybody() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = caught(folder.path()).await;
    let proof = bundle.verify(&Files::default(), None).unwrap();
    assert_eq!((proof.peer, proof.hotkey.0), (key(5), hotkey(5)));
    assert!(proof.difference.contains("item 0") || proof.difference.contains("off by"), "{}", proof.difference);
    assert!(bundle.reason.contains("signed another answer"), "{}", bundle.reason);
    // A checkpoint left out can be brought along.
    let mut without = bundle.clone();
    let file = std::mem::take(&mut without.checkpoint.data);
    assert!(matches!(without.verify(&Files::default(), None), Err(NoProof::NoCheckpoint(_))));
    assert_eq!(without.verify(&Files::default(), Some(&file)).unwrap(), proof);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_evidence_convinces_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = caught(folder.path()).await;
    let why = |forge: &dyn Fn(&mut Bundle)| {
        let mut forged = bundle.clone();
        forge(&mut forged);
        // As it would be read from a file.
        let text = serde_json::to_vec(&forged).unwrap();
        Bundle::read(&text).and_then(|bundle| bundle.verify(&Files::default(), None)).unwrap_err()
    };
    let turn = |data: &Bytes| -> Bytes { data.iter().rev().copied().collect::<Vec<u8>>().into() };
    let is_receipt = |error: &NoProof, part: &str| {
        assert!(matches!(error, NoProof::Receipt(_)) && error.to_string().contains(part), "{error}");
    };
    is_receipt(&why(&|b| b.outputs[0].data = turn(&b.outputs[0].data)), "another output");
    is_receipt(&why(&|b| b.inputs[0].data = turn(&b.inputs[0].data)), "another input");
    is_receipt(&why(&|b| b.inputs[0].name = "other".into()), "another input");
    is_receipt(&why(&|b| b.checkpoint.hash = ContentHash::of(b"0 1")), "another checkpoint");
    is_receipt(&why(&|b| b.receipt.request = RequestId([3; 16])), "not signed");
    is_receipt(&why(&|b| b.receipt.answered_at_ms += 1), "not signed");
    is_receipt(&why(&|b| b.receipt.output = ContentHash([0; 32])), "not signed");
    // Signed by another than it names, or about another than it is signed by.
    is_receipt(&why(&|b| b.receipt.peer = key(1)), "about");
    is_receipt(&why(&|b| (b.receipt.peer, b.author.peer) = (key(1), key(1))), "not signed");
    // Somebody else's hotkey.
    assert!(matches!(why(&|b| b.author.hotkey.0 = hotkey(1)), NoProof::Binding { .. }));
    assert!(matches!(why(&|b| b.network = "other".parse().unwrap()), NoProof::Binding { .. }));
    // Other parameters under the same name.
    assert!(matches!(why(&|b| b.checkpoint.data = file(&[0])), NoProof::OtherCheckpoint { .. }));
    // Tensors that are none.
    assert!(matches!(why(&|b| b.inputs[0].shape = vec![9, 4, 4]), NoProof::Unreadable(_)));
    assert!(matches!(why(&|b| b.outputs = vec![b.outputs[0].clone(); 40]), NoProof::Unreadable(_)));
    assert!(matches!(why(&|b| b.format = "glia-evidence-v2".into()), NoProof::Unreadable(_)));

    // A router that lies about an honest expert has its true signature, but no wrong answer.
    let (identity, keypair, network) = (identity(1), keypair(1), "test".parse().unwrap());
    let input = Tensor::from_u8("image", &[1, 4, 4], image(0, 1)).unwrap();
    let honest = file(&[0]);
    let hash = ContentHash::of(&honest);
    let request = ForwardRequest {
        id: RequestId([1; 16]),
        subnet: "vision".parse().unwrap(),
        checkpoint: hash,
        budget_ms: 1,
        tensors: vec![input],
    };
    let mut response = ForwardResponse {
        id: request.id,
        checkpoint: hash,
        queue_us: 0,
        compute_us: 0,
        batch: 1,
        tensors: vec![rows(&Manner::Knows(vec![0], 0.9), &request.tensors[0])],
        receipt: None,
    };
    response.receipt = Some(Receipt::sign(key(1), &request, &response, 1, |message| identity.sign(message)));
    let descriptor = ExpertDescriptor {
        peer: key(1),
        hotkey: hotkey(1),
        binding: Binding {
            by_peer: identity.sign(&Binding::message_for_peer(&network, &key(1), &hotkey(1))),
            by_hotkey: Signature(keypair.sign(&Binding::message_for_hotkey(&network, &key(1), &hotkey(1)))),
        },
        checkpoint: hash,
        ..descriptor(1, &[0])
    };
    let lie = rows(&Manner::Noise, &request.tensors[0]);
    let slander = Bundle::of(&glia_router::audit::evidence::Failed {
        netuid: NETUID,
        descriptor: &descriptor,
        request: &request,
        response: &response,
        checkpoint: &honest,
        recomputed: &lie,
        reason: "it lied",
        now_ms: 1,
    });
    assert_eq!(slander.unwrap().verify(&Files::default(), None), Err(NoProof::NotGuilty));
}

#[test]
fn garbage_is_no_evidence_and_says_so_in_a_sentence() {
    for text in ["", "{", "[]", "{\"format\": \"glia-evidence-v1\"}", &"[".repeat(100_000), "\u{0}"] {
        let error = Bundle::read(text.as_bytes()).unwrap_err();
        assert!(error.to_string().starts_with("it is no evidence file: "), "{error}");
    }
    let large = vec![b' '; glia_router::audit::evidence::MAX_FILE as usize + 1];
    assert!(Bundle::read(&large).unwrap_err().to_string().contains("the most"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_or_false_receipt_is_a_failed_audit_that_leaves_no_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let (signers, files) = (Signers::with(3), Arc::new(Files::default()));
    for (n, signs) in [(5, Signs::Nothing), (6, Signs::Otherwise), (7, Signs::AsAnother)] {
        signers.change(n, |expert| expert.signs = signs);
    }
    let (router, subnet) = start(&signers, &files, folder.path()).await;
    until("all three are condemned", || (5..=7).all(|n| subnet.audits.condemns(&hotkey(n)))).await;
    let reason = |n| line(&subnet, n).unwrap().record.last.unwrap().reason;
    assert!(reason(5).contains("without a receipt"), "{}", reason(5));
    assert!(reason(6).contains("another output"), "{}", reason(6));
    assert!(reason(7).contains("not signed"), "{}", reason(7));
    assert!(evidence(folder.path()).is_empty(), "nothing is proven to others");
    assert!((1..=4).all(|n| !subnet.audits.condemns(&hotkey(n))));
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_publishes_nothing_or_not_what_it_says_stays_at_a_lower_tier() {
    let folder = tempfile::tempdir().unwrap();
    let (signers, files) = (Signers::with(0), Arc::new(Files::default()));
    signers.change(1, |expert| expert.descriptor.published = None);
    signers.change(2, |expert| expert.hands_out = Some(Err("not today".into())));
    signers.change(3, |expert| expert.hands_out = Some(Ok(file(&[0, 1, 2, 3]))));
    signers.change(4, |expert| expert.descriptor.published = Some(u64::MAX));
    let (router, subnet) = start(&signers, &files, folder.path()).await;
    until("all had many audits", || (1..=4).all(|n| line(&subnet, n).is_some_and(|l| l.record.audits >= 25))).await;
    for n in 1..=4 {
        let credibility = subnet.audits.credibility(&hotkey(n));
        assert!(credibility > 0.6 && credibility <= CLOSED, "{n}: {credibility}");
    }
    let last = |n| line(&subnet, n).unwrap().record.last.unwrap();
    assert_eq!(last(1).result, "signed");
    assert!(last(2).reason.contains("not today") && last(3).reason.contains("another checkpoint"));
    assert!(last(4).reason.contains("at most"), "{}", last(4).reason);
    assert!((2..=4).all(|n| line(&subnet, n).unwrap().rate == 1.0), "nothing was found out about them");
    assert!(signers.fetches.load(Ordering::SeqCst) < 10, "who could not be had is left alone for a while");
    assert_eq!(files.computed.load(Ordering::SeqCst), 0);
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_drops_audits_and_touches_no_request() {
    let folder = tempfile::tempdir().unwrap();
    let (signers, files) = (Signers::with(0), Arc::new(Files::default()));
    files.held.store(true, Ordering::SeqCst);
    let (router, subnet) = start(&signers, &files, folder.path()).await;
    until("the experts are probed", || subnet.is_ready()).await;
    let data: Vec<u8> = (0..4).flat_map(|n| image(n, n)).collect();
    for n in 0..200_u8 {
        let inputs = Inputs::new(&schema(), data.clone().into()).unwrap();
        let inquiry = Inquiry { inputs, k: 4, deadline: Duration::from_secs(5), explore: None };
        let routed = infer(&subnet, &inquiry, RequestId([n; 16])).await.unwrap();
        assert!(routed.calls.iter().all(|call| call.failure.is_none()));
    }
    until("audits were dropped", || subnet.audits.dropped() > 0).await;
    assert!(subnet.audits.lines().is_empty() && files.computed.load(Ordering::SeqCst) == 0);
    files.held.store(false, Ordering::SeqCst);
    until("audits go on", || (1..=4).all(|n| subnet.audits.credibility(&hotkey(n)) > 0.5)).await;
    router.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_its_penalty_a_hotkey_begins_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (signers, files) = (Signers::with(1), Arc::new(Files::default()));
    signers.change(5, |liar| liar.says = Manner::Noise);
    let policy = Policy { audit_penalty: Duration::from_secs(2), ..hurried() };
    let router = Router::start_with(with_policy(&signers, &files, folder.path(), policy)).await.unwrap();
    let subnet = Arc::clone(&router.subnets()[0]);
    until("the liar is condemned", || subnet.audits.condemns(&hotkey(5))).await;
    signers.change(5, |liar| liar.says = Manner::Knows((0..REGIONS).collect(), 0.9));
    until("its penalty is over", || !subnet.audits.condemns(&hotkey(5))).await;
    until("it earns credibility again", || subnet.audits.credibility(&hotkey(5)) > 0.5).await;
    let line = line(&subnet, 5).unwrap();
    // Several lies may have been on their way when the first was found out; together they are one strike.
    assert_eq!(line.account.strikes, 1);
    assert!(line.account.failures >= 1);
    router.stop().await;
}

//! The serving pipeline under load: bounded, honest, and never computing for nobody.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use glia_experts::model::{ExpertModel, ModelError};
use glia_experts::serve::{Loaded, Pipeline, ServeConfig, StartError};
use glia_peer::ForwardHandler;
use glia_protocol::schema::{TaskSchema, TensorSpec};
use glia_protocol::{ContentHash, ForwardRequest, ForwardResponse, PeerId, Refusal, RequestId, SubnetName, Tensor};

use crate::vision;

const CHECKPOINT: ContentHash = ContentHash([7; 32]);
const PATIENCE: u32 = 60_000;

/// A gate that holds the model inside its forward pass until opened.
#[derive(Default)]
struct Gate {
    state: Mutex<(bool, u32)>,
    changed: Condvar,
}

impl Gate {
    fn open(&self) {
        self.state.lock().unwrap().0 = true;
        self.changed.notify_all();
    }

    /// Called by the model: counts itself in, waits for the gate.
    fn pass(&self) {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        self.changed.notify_all();
        while !state.0 {
            state = self.changed.wait(state).unwrap();
        }
    }

    /// Waits until the model was entered `times` times.
    fn entered(&self, times: u32) {
        let mut state = self.state.lock().unwrap();
        while state.1 < times {
            state = self.changed.wait(state).unwrap();
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Panic,
    NaN,
    WrongShape,
}

/// Answers class = first pixel modulo 20 with certainty.
struct FirstPixel {
    schema: TaskSchema,
    gate: Option<Arc<Gate>>,
    computed: Arc<AtomicU32>,
    fault: Fault,
}

impl ExpertModel for FirstPixel {
    fn input(&self) -> &TensorSpec {
        &self.schema.input
    }

    fn output(&self) -> &TensorSpec {
        &self.schema.output
    }

    fn forward(&self, batch: &Tensor) -> Result<Tensor, ModelError> {
        // The blank image of the warm-up passes freely.
        let warm_up = batch.batch() == 1 && batch.data().iter().all(|&p| p == 0);
        if !warm_up {
            self.computed.fetch_add(batch.batch(), Ordering::SeqCst);
            if let Some(gate) = &self.gate {
                gate.pass();
            }
            assert!(self.fault != Fault::Panic, "a model fault made on purpose");
        }
        let mut rows = vec![0.0; batch.batch() as usize * 20];
        for (row, image) in rows.chunks_exact_mut(20).zip(batch.data().chunks_exact(784)) {
            row[usize::from(image[0] % 20)] = if self.fault == Fault::NaN && !warm_up { f32::NAN } else { 1.0 };
        }
        let mut shape = [batch.batch(), 20];
        if self.fault == Fault::WrongShape && !warm_up {
            shape.reverse();
        }
        Ok(Tensor::from_f32("probabilities", &shape, &rows)?)
    }
}

struct Bench {
    pipeline: Pipeline,
    handler: Arc<dyn ForwardHandler>,
    computed: Arc<AtomicU32>,
}

async fn bench(gate: Option<Arc<Gate>>, fault: Fault, config: ServeConfig) -> Bench {
    let subnet = vision();
    let computed = Arc::new(AtomicU32::new(0));
    let model = FirstPixel { schema: subnet.schema().clone(), gate, computed: computed.clone(), fault };
    let load = move || Ok(("test", vec![Box::new(model) as Box<dyn ExpertModel>]));
    let (name, schema) = (subnet.name().clone(), subnet.schema().clone());
    let pipeline = Pipeline::start(name, schema, vec![CHECKPOINT], load, config).await.unwrap();
    Bench { handler: pipeline.handler(), pipeline, computed }
}

fn request(first_pixels: &[u8], budget_ms: u32) -> ForwardRequest {
    let mut pixels = vec![0u8; first_pixels.len() * 784];
    for (image, &first) in pixels.chunks_exact_mut(784).zip(first_pixels) {
        image[0] = first;
        image[783] = 255;
    }
    let shape = [first_pixels.len() as u32, 28, 28];
    ForwardRequest {
        id: RequestId([1; 16]),
        subnet: vision().name().clone(),
        checkpoint: CHECKPOINT,
        budget_ms,
        tensors: vec![Tensor::from_u8("image", &shape, Bytes::from(pixels)).unwrap()],
    }
}

fn caller(n: u8) -> PeerId {
    PeerId([n; 32])
}

fn classes(response: &ForwardResponse) -> Vec<usize> {
    response.tensors[0].to_f32().chunks_exact(20).map(glia_experts::evaluate::argmax).collect()
}

/// Waits until the model was entered `times` times.
async fn entered(gate: &Arc<Gate>, times: u32) {
    let gate = gate.clone();
    tokio::task::spawn_blocking(move || gate.entered(times)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_together_are_computed_together_and_answered_apart() {
    let gate = Arc::new(Gate::default());
    // Nobody goes before ten images are together.
    let config = ServeConfig { max_batch: 10, max_wait: Duration::from_secs(3600), ..ServeConfig::default() };
    let bench = bench(Some(gate.clone()), Fault::None, config).await;
    let first = tokio::spawn(bench.handler.forward(caller(1), request(&[1; 10], PATIENCE)));
    entered(&gate, 1).await;
    let rest: Vec<_> =
        (2..7u8).map(|n| tokio::spawn(bench.handler.forward(caller(n), request(&[n, n + 10], PATIENCE)))).collect();
    wait_for_queue(&bench.pipeline, 6).await;
    gate.open();
    assert_eq!(classes(&first.await.unwrap().unwrap()), [1; 10]);
    for (n, answer) in (2..7usize).zip(rest) {
        let answer = answer.await.unwrap().unwrap();
        assert_eq!(classes(&answer), [n, n + 10]);
        assert_eq!(answer.batch, 10, "five requests of two images should share one batch");
    }
    assert_eq!(bench.pipeline.load().served, 6);
}

/// Waits until `n` requests are inside.
async fn wait_for_queue(pipeline: &Pipeline, n: u32) {
    while pipeline.load().queued < n {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overload_gives_busy_instead_of_growth() {
    let gate = Arc::new(Gate::default());
    let config = ServeConfig { max_queue: 4, ..ServeConfig::default() };
    let bench = bench(Some(gate.clone()), Fault::None, config).await;
    let inside: Vec<_> =
        (0..4u8).map(|n| tokio::spawn(bench.handler.forward(caller(n), request(&[n], PATIENCE)))).collect();
    wait_for_queue(&bench.pipeline, 4).await;
    for n in 0..50 {
        let refused = bench.handler.forward(caller(n), request(&[n], PATIENCE)).await;
        assert!(matches!(refused, Err(Refusal::Busy { retry_after_ms }) if retry_after_ms > 0), "{refused:?}");
        assert_eq!(bench.pipeline.load().queued, 4);
    }
    assert_eq!(bench.pipeline.load().refused, 50);
    gate.open();
    for answer in inside {
        answer.await.unwrap().unwrap();
    }
    // The house is empty again: the next one is served.
    bench.handler.forward(caller(9), request(&[3], PATIENCE)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_greedy_caller_leaves_room_for_others() {
    let gate = Arc::new(Gate::default());
    let config = ServeConfig { per_caller: 2, ..ServeConfig::default() };
    let bench = bench(Some(gate.clone()), Fault::None, config).await;
    let greedy: Vec<_> =
        (0..2u8).map(|n| tokio::spawn(bench.handler.forward(caller(1), request(&[n], PATIENCE)))).collect();
    wait_for_queue(&bench.pipeline, 2).await;
    let third = bench.handler.forward(caller(1), request(&[3], PATIENCE)).await;
    assert!(matches!(third, Err(Refusal::Busy { .. })), "{third:?}");
    let other = tokio::spawn(bench.handler.forward(caller(2), request(&[4], PATIENCE)));
    wait_for_queue(&bench.pipeline, 3).await;
    gate.open();
    assert_eq!(classes(&other.await.unwrap().unwrap()), [4]);
    for answer in greedy {
        answer.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_and_cancelled_work_is_never_computed() {
    let gate = Arc::new(Gate::default());
    let bench = bench(Some(gate.clone()), Fault::None, ServeConfig::default()).await;
    let first = tokio::spawn(bench.handler.forward(caller(1), request(&[1], PATIENCE)));
    entered(&gate, 1).await;
    // While the device is held: one request whose deadline passes, one whose caller goes away.
    let late = bench.handler.forward(caller(2), request(&[2], 20)).await;
    assert_eq!(late, Err(Refusal::Deadline));
    let gone = tokio::spawn(bench.handler.forward(caller(3), request(&[3], PATIENCE)));
    let last = tokio::spawn(bench.handler.forward(caller(4), request(&[4], PATIENCE)));
    // The one that expired was swept out when the next one came.
    wait_for_queue(&bench.pipeline, 3).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    gate.open();
    first.await.unwrap().unwrap();
    assert_eq!(classes(&last.await.unwrap().unwrap()), [4]);
    assert_eq!(bench.computed.load(Ordering::SeqCst), 2, "only two of four requests had somebody waiting");
    let report = bench.pipeline.drain(Duration::from_secs(10)).await;
    assert_eq!(report.unfinished, 0);
}

#[tokio::test]
async fn a_request_with_no_time_left_is_refused_without_computing() {
    let bench = bench(None, Fault::None, ServeConfig::default()).await;
    assert_eq!(bench.handler.forward(caller(1), request(&[1], 0)).await, Err(Refusal::Deadline));
    assert_eq!(bench.computed.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn requests_that_do_not_fit_are_refused_with_the_reason() {
    let bench = bench(None, Fault::None, ServeConfig { max_batch: 4, ..ServeConfig::default() }).await;
    let ask = |request| bench.handler.forward(caller(1), request);
    let unknown = ForwardRequest { checkpoint: ContentHash([8; 32]), ..request(&[1], PATIENCE) };
    assert_eq!(ask(unknown).await, Err(Refusal::UnknownExpert));
    let elsewhere = ForwardRequest { subnet: "smell".parse::<SubnetName>().unwrap(), ..request(&[1], PATIENCE) };
    assert_eq!(ask(elsewhere).await, Err(Refusal::UnknownExpert));
    assert!(matches!(ask(request(&[1; 5], PATIENCE)).await, Err(Refusal::TooLarge(_))));
    let tensors = |tensors| ForwardRequest { tensors, ..request(&[1], PATIENCE) };
    let none = ask(tensors(vec![])).await;
    assert!(matches!(none, Err(Refusal::BadShape(_))), "{none:?}");
    let floats = Tensor::from_f32("image", &[1, 28, 28], &[0.0; 784]).unwrap();
    assert!(matches!(ask(tensors(vec![floats])).await, Err(Refusal::BadShape(_))));
    let flat = Tensor::from_u8("image", &[1, 784], vec![0; 784]).unwrap();
    assert!(matches!(ask(tensors(vec![flat])).await, Err(Refusal::BadShape(_))));
    assert_eq!(bench.computed.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_broken_model_is_a_refusal_and_the_server_lives_on() {
    for fault in [Fault::Panic, Fault::NaN, Fault::WrongShape] {
        let bench = bench(None, fault, ServeConfig::default()).await;
        for _ in 0..3 {
            let answer = bench.handler.forward(caller(1), request(&[1, 2], PATIENCE)).await;
            assert!(matches!(answer, Err(Refusal::Failed(_))), "{answer:?}");
        }
        assert_eq!(bench.pipeline.load().queued, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn draining_finishes_what_is_inside_and_takes_nothing_new() {
    let gate = Arc::new(Gate::default());
    let Bench { pipeline, handler, computed } = bench(Some(gate.clone()), Fault::None, ServeConfig::default()).await;
    let running: Vec<_> =
        (0..3u8).map(|n| tokio::spawn(handler.forward(caller(n), request(&[n + 1], PATIENCE)))).collect();
    entered(&gate, 1).await;
    wait_for_queue(&pipeline, 3).await;
    let load = pipeline.load_source();
    let drain = tokio::spawn(pipeline.drain(Duration::from_secs(30)));
    // The door closes as soon as the drain has begun.
    loop {
        match tokio::time::timeout(Duration::from_millis(50), handler.forward(caller(9), request(&[5], 40))).await {
            Ok(Err(Refusal::Busy { .. })) => break,
            _ => tokio::task::yield_now().await,
        }
    }
    gate.open();
    for (n, answer) in running.into_iter().enumerate() {
        assert_eq!(classes(&answer.await.unwrap().unwrap()), [n + 1]);
    }
    let report = drain.await.unwrap();
    assert_eq!((report.unfinished, report.device_ended), (0, true));
    assert_eq!(computed.load(Ordering::SeqCst), 3);
    assert_eq!(load().queued, 0);
    let closed = handler.forward(caller(1), request(&[1], PATIENCE)).await;
    assert!(matches!(closed, Err(Refusal::Busy { .. })), "{closed:?}");
}

#[tokio::test]
async fn impossible_servers_do_not_start() {
    let (name, schema) = (vision().name().clone(), vision().schema().clone());
    let nothing = || Ok::<Loaded, StartError>(("test", vec![]));
    let start = |checkpoints, config| Pipeline::start(name.clone(), schema.clone(), checkpoints, nothing, config);
    let config = ServeConfig::default();
    assert!(matches!(start(vec![], config.clone()).await, Err(StartError::Checkpoints(_))));
    assert!(matches!(start(vec![CHECKPOINT; 2], config.clone()).await, Err(StartError::Checkpoints(_))));
    assert!(matches!(start(vec![CHECKPOINT], config.clone()).await, Err(StartError::Checkpoints(_))));
    let zero = ServeConfig { max_batch: 0, ..config };
    assert!(matches!(start(vec![CHECKPOINT], zero).await, Err(StartError::Limits)));
}

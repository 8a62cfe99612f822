//! Slow, failing and lying experts, and those who step in for them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use glia_protocol::RequestId;
use glia_router::dispatch::book::Book;
use glia_router::dispatch::inputs::Inputs;
use glia_router::dispatch::{Cause, Failure, ItemPlan, Job, Outcome, dispatch};
use glia_router::expert::{ExpertKey, Listed, Presence};

use crate::mesh::{Manner, Mesh, descriptor, image, peer, schema};

fn listed(mesh: &Mesh) -> Vec<Arc<Listed>> {
    let peers = mesh.peers.lock().unwrap();
    let experts = peers.iter().map(|(id, peer)| {
        let descriptor = Arc::new(peer.descriptor.clone());
        let key = ExpertKey { peer: *id, checkpoint: descriptor.checkpoint };
        Arc::new(Listed { key, descriptor, uid: None, presence: Presence::Here, candidate: true })
    });
    experts.collect()
}

struct Run {
    outcome: Outcome,
    book: Book,
    experts: Vec<Arc<Listed>>,
    took: Duration,
}

async fn run(mesh: &Arc<Mesh>, plan: Vec<ItemPlan>, deadline: Duration) -> Run {
    run_with(Book::new(0.05), mesh, plan, deadline).await
}

async fn run_with(book: Book, mesh: &Arc<Mesh>, plan: Vec<ItemPlan>, deadline: Duration) -> Run {
    let (experts, schema) = (listed(mesh), schema());
    let data: Vec<u8> = (0..plan.len()).flat_map(|n| image(n % 8, n)).collect();
    let inputs = Inputs::new(&schema, data.into()).unwrap();
    let subnet = "vision".parse().unwrap();
    let job = Job {
        subnet: &subnet,
        schema: &schema,
        experts: &experts,
        inputs: &inputs,
        plan: &plan,
        deadline,
        fair: deadline >= FAIR,
        k_min: 1,
        id: RequestId([3; 16]),
    };
    let start = Instant::now();
    let outcome = dispatch(&job, mesh.as_ref(), &book).await;
    Run { outcome, book, took: start.elapsed(), experts }
}

fn plan(members: &[usize], standbys: &[usize]) -> ItemPlan {
    ItemPlan { members: members.to_vec(), standbys: standbys.to_vec() }
}

fn good() -> Manner {
    Manner::Late(Duration::ZERO)
}

const LONG: Duration = Duration::from_secs(20);
/// A deadline that gives an expert a fair chance.
const FAIR: Duration = Duration::from_millis(700);

#[tokio::test]
async fn a_deadline_too_short_for_anybody_is_nobodys_fault() {
    let mesh = Mesh::of(&[Manner::Hangs]);
    let mut book = Book::new(0.05);
    for _ in 0..4 {
        let run = run_with(book, &mesh, vec![plan(&[0], &[])], FAIR - Duration::from_millis(50)).await;
        assert!(!run.book.is_banned(&run.experts[0].key, tokio::time::Instant::now()));
        book = run.book;
    }
    // The same silence is held against it when the deadline is fair.
    let mut banned = false;
    for _ in 0..3 {
        let run = run_with(book, &mesh, vec![plan(&[0], &[])], FAIR).await;
        banned = run.book.is_banned(&run.experts[0].key, tokio::time::Instant::now());
        book = run.book;
    }
    assert!(banned);
}

#[tokio::test]
async fn a_router_that_cannot_ask_does_not_blame_the_expert() {
    let mesh = Mesh::of(&[good()]);
    let (experts, schema) = (listed(&mesh), schema());
    // Inputs of another schema: their tensor cannot be made.
    let mut other = schema.clone();
    other.input.shape = vec![4, 5];
    let inputs = Inputs::new(&other, vec![0; 20].into()).unwrap();
    let (subnet, book, plan) = ("vision".parse().unwrap(), Book::new(0.05), [plan(&[0], &[])]);
    let job = Job {
        subnet: &subnet,
        schema: &schema,
        experts: &experts,
        inputs: &inputs,
        plan: &plan,
        deadline: LONG,
        fair: true,
        k_min: 1,
        id: RequestId([3; 16]),
    };
    let outcome = dispatch(&job, mesh.as_ref(), &book).await;
    assert!(matches!(outcome.calls[0].failure, Some(Failure::Own(_))), "{:?}", outcome.calls);
    let now = tokio::time::Instant::now();
    assert!(!book.is_banned(&experts[0].key, now));
    assert_eq!(book.figures(&experts[0].key, now).failures, 0);
}

#[tokio::test]
async fn an_expert_of_tiny_batches_gets_few_calls_and_the_rest_goes_to_others() {
    let mesh = Mesh::of(&[good(), good()]);
    mesh.change(1, |peer| peer.descriptor.capacity.max_batch = 1);
    let items: Vec<ItemPlan> = (0..200).map(|_| plan(&[0], &[1])).collect();
    let run = run(&mesh, items, LONG).await;
    let of = |expert: usize| run.outcome.calls.iter().filter(|call| call.expert == expert).count();
    assert_eq!((of(0), of(1)), (16, 3));
    assert!(run.outcome.answers.iter().all(|answers| answers.len() == 1));
}

#[tokio::test]
async fn slow_expert_is_hedged() {
    let mesh = Mesh::of(&[Manner::Hangs, good()]);
    let run = run(&mesh, vec![plan(&[0], &[1])], LONG).await;
    assert_eq!(run.outcome.answers[0].len(), 1);
    assert_eq!(run.outcome.answers[0][0].expert, 1);
    assert_eq!(run.outcome.calls[1].cause, Cause::Hedge);
    assert_eq!(run.outcome.calls[0].failure, Some(Failure::Unfinished));
    assert!(run.took < LONG / 2, "{:?}", run.took);
    assert_eq!(mesh.cancelled.load(Ordering::SeqCst), 1, "the slow call is cancelled");
}

#[tokio::test]
async fn an_item_without_any_answer_gets_a_standby_even_when_the_budget_for_hedges_is_spent() {
    let mesh = Mesh::of(&[Manner::Hangs, good()]);
    let book = Book::new(0.0);
    while book.take_hedge() {}
    let run = run_with(book, &mesh, vec![plan(&[0], &[1])], LONG).await;
    assert_eq!(run.outcome.answers[0][0].expert, 1);
    assert!(run.took < LONG / 2, "{:?}", run.took);
}

#[tokio::test]
async fn failed_expert_is_banned_and_standby_answers() {
    for manner in [Manner::Fails, Manner::Nan, Manner::Unnormalised] {
        let mesh = Mesh::of(&[manner.clone(), good()]);
        let run = run(&mesh, vec![plan(&[0], &[1])], LONG).await;
        assert_eq!(run.outcome.answers[0][0].expert, 1, "{manner:?}");
        assert_eq!(run.outcome.calls[1].cause, Cause::Retry);
        let now = tokio::time::Instant::now();
        assert!(run.book.is_banned(&run.experts[0].key, now), "{manner:?}");
        assert!(!run.book.is_banned(&run.experts[1].key, now));
    }
}

#[tokio::test]
async fn a_dead_experts_items_go_to_different_standbys() {
    let mesh = Mesh::of(&[good(), good(), good()]);
    mesh.change(1, |peer| peer.alive = false);
    let run = run(&mesh, vec![plan(&[0], &[1, 2]), plan(&[0], &[2, 1])], LONG).await;
    assert_eq!(run.outcome.answers[0][0].expert, 1);
    assert_eq!(run.outcome.answers[1][0].expert, 2);
}

#[tokio::test]
async fn nobody_answering_is_an_outcome_with_every_reason() {
    let mesh = Mesh::of(&[Manner::Fails, Manner::Nan, Manner::Busy]);
    let run = run(&mesh, vec![plan(&[0, 2], &[1])], LONG).await;
    assert!(run.outcome.answers[0].is_empty());
    let reasons = run.outcome.reasons(0, &run.experts).join("; ");
    assert!(reasons.contains("expert-1: refused: the expert failed"), "{reasons}");
    assert!(reasons.contains("expert-2: the answer has a value that is no number"), "{reasons}");
    assert!(reasons.contains("expert-3: refused: busy"), "{reasons}");
}

#[tokio::test]
async fn one_frozen_member_does_not_hold_up_those_who_answered() {
    let mesh = Mesh::of(&[good(), Manner::Hangs]);
    let run = run(&mesh, vec![plan(&[0, 1], &[])], LONG).await;
    assert_eq!(run.outcome.answers[0].len(), 1);
    assert!(run.took < LONG / 2, "{:?}", run.took);
}

#[tokio::test]
async fn the_deadline_ends_a_request_that_nobody_answers() {
    let mesh = Mesh::of(&[Manner::Hangs]);
    let deadline = Duration::from_millis(300);
    let run = run(&mesh, vec![plan(&[0], &[])], deadline).await;
    assert!(run.outcome.answers[0].is_empty());
    assert!(run.took >= deadline && run.took < LONG / 2);
    assert_eq!(mesh.cancelled.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_batch_is_one_call_per_expert_within_its_limit() {
    let mesh = Mesh::of(&[good(), good()]);
    let items: Vec<ItemPlan> = (0..100).map(|n| plan(&[n % 2], &[])).collect();
    let first = run(&mesh, items.clone(), LONG).await;
    assert_eq!(first.outcome.calls.len(), 2);
    assert!(first.outcome.answers.iter().all(|answers| answers.len() == 1));
    mesh.change(1, |peer| peer.descriptor.capacity.max_batch = 20);
    let second = run(&mesh, items, LONG).await;
    assert_eq!(second.outcome.calls.len(), 3 + 1);
    assert!(second.outcome.answers.iter().all(|answers| answers.len() == 1));
}

#[tokio::test]
async fn answers_belong_to_the_items_they_were_asked_for() {
    let mesh = Mesh::of(&[good(), good()]);
    let items: Vec<ItemPlan> = (0..16).map(|n| plan(&[usize::from(n % 3 == 0)], &[])).collect();
    let run = run(&mesh, items, LONG).await;
    for (n, answers) in run.outcome.answers.iter().enumerate() {
        assert_eq!(glia_router::aggregate::top_class(&answers[0].row), n % 8);
    }
    assert_eq!(run.experts[0].key.peer, peer(1));
    assert_eq!(descriptor(1, &[0]).peer, peer(1));
}

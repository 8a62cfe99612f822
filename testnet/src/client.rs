//! A client of a router's HTTP API: the Open Inference Protocol and the router's own pages.

use std::time::Duration;

use glia_protocol::{DType, SubnetName, Tensor};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

/// Bytes of an answer that are read: 4096 items of 4096 probabilities as JSON would be more, nobody asks for that.
const MAX_ANSWER: usize = 32 * 1024 * 1024;
/// Time on top of the request's own deadline, for HTTP and for the router's answer that it was missed.
const SLACK: Duration = Duration::from_secs(5);

/// Why a router gave no answer. Each text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The address is none.
    #[error("{url:?} is no router address: {why}; it looks like http://127.0.0.1:8080")]
    Address {
        /// As given.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody answers there.
    #[error("no router answers at {url} ({why}); start one with `glia route` or `glia testnet up`")]
    Unreachable {
        /// Address.
        url: String,
        /// Cause.
        why: String,
    },
    /// It took too long.
    #[error("the router at {url} did not answer within {after:?}; try again, or give it more time")]
    Timeout {
        /// Address.
        url: String,
        /// Time it had.
        after: Duration,
    },
    /// The router said no.
    #[error("the router refused ({status}): {message}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its sentence.
        message: String,
    },
    /// The answer is not what a router gives.
    #[error("{url} answered with something that is no router's answer: {why}; is it a Glia router of this version?")]
    Malformed {
        /// Address.
        url: String,
        /// What is wrong with it.
        why: String,
    },
}

/// What to ask for besides the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InferOptions {
    /// Experts to ask; the router's own choice when `None`.
    pub k: Option<usize>,
    /// Time for the whole request.
    pub deadline: Duration,
    /// Whether to say which experts answered what.
    pub explain: bool,
}

impl Default for InferOptions {
    fn default() -> Self {
        Self { k: None, deadline: Duration::from_secs(2), explain: false }
    }
}

/// What one expert contributed to one item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExpertShare {
    /// Its name.
    pub name: String,
    /// Its uid on chain.
    pub uid: Option<u16>,
    /// Its peer id.
    pub peer_id: String,
    /// Its hotkey.
    pub hotkey: Option<String>,
    /// Its part of the answer, 0..1.
    pub weight: f64,
    /// Time until its answer, in microseconds.
    pub latency_us: Option<u64>,
    /// Time it waited in the expert's queue, in microseconds.
    pub queue_us: Option<u64>,
    /// Time the model took, in microseconds.
    pub compute_us: Option<u64>,
    /// The class it finds most probable: its number or its label.
    pub top_class: Value,
    /// The probability it gives that class.
    pub top_probability: Option<f64>,
    /// `answered`, or what happened instead.
    pub status: String,
}

impl Default for ExpertShare {
    fn default() -> Self {
        Self {
            name: String::new(),
            uid: None,
            peer_id: String::new(),
            hotkey: None,
            weight: 0.0,
            latency_us: None,
            queue_us: None,
            compute_us: None,
            top_class: Value::Null,
            top_probability: None,
            status: String::new(),
        }
    }
}

/// The answer to a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct InferAnswer {
    /// One row of probabilities per item.
    pub probabilities: Vec<Vec<f32>>,
    /// Per item, the experts that took part; empty without `explain`.
    pub experts: Vec<Vec<ExpertShare>>,
    /// Time of the router's gate and selection, in microseconds.
    pub route_us: Option<u64>,
    /// Name by which the answer can be labelled later.
    pub request_id: Option<String>,
    /// Time the router took to make one answer of all, in microseconds.
    pub aggregate_us: Option<u64>,
    /// Calls to experts made for it, hedges and retries included.
    pub calls: Option<u64>,
}

/// An expert as a router sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExpertEntry {
    /// Its name.
    pub name: String,
    /// Its peer id.
    pub peer_id: String,
    /// Its hotkey.
    pub hotkey: String,
    /// Its uid; `None` while the router does not find it on chain.
    pub uid: Option<u16>,
    /// `found`, `probed`, `serving`, `banned` or `leaving`.
    pub state: String,
    /// Whether it may be chosen now.
    pub candidate: bool,
    /// Where it is reached.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Whether all its probes are answered and its temperature is fitted to them.
    #[serde(default)]
    pub calibrated: bool,
    /// Labelled probes it answered.
    pub probes: u64,
    /// Trust earned by them, 0..1.
    pub trust: f64,
    /// Accuracy on the probes of its claimed region.
    #[serde(default)]
    pub claimed_accuracy: Option<f64>,
    /// Requests sent to it.
    pub requests: u64,
    /// Requests it failed.
    pub failures: u64,
    /// Median time until its answer, in milliseconds.
    #[serde(default)]
    pub latency_p50_ms: Option<f64>,
    /// Running usefulness.
    #[serde(default)]
    pub usefulness: Option<f64>,
    /// Expert weight last written on chain.
    #[serde(default)]
    pub weight: u16,
}

impl ExpertEntry {
    /// Whether the router has tested it with labelled inputs: it says so, or all `goal` of them are answered.
    #[must_use]
    pub fn is_probed(&self, goal: Option<u64>) -> bool {
        matches!(self.state.as_str(), "probed" | "serving") || goal.is_some_and(|goal| goal > 0 && self.probes >= goal)
    }
}

/// The experts a router knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExpertsPage {
    /// The subnet.
    pub subnet: String,
    /// The chain's block the uids are of.
    #[serde(default)]
    pub block: Option<u64>,
    /// Labelled probes each expert is given.
    #[serde(default)]
    pub probe_goal: Option<u64>,
    /// The experts.
    pub experts: Vec<ExpertEntry>,
}

/// One expert weight with its reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerWeight {
    /// Whom it is for.
    pub uid: u16,
    /// Hotkey of that uid.
    #[serde(default)]
    pub hotkey: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// The weight written on chain.
    pub weight: u16,
    /// Running usefulness it was made from.
    #[serde(default)]
    pub usefulness_ema: Option<f64>,
    /// Scored requests it rests on.
    #[serde(default)]
    pub scored: u64,
    /// A sentence.
    #[serde(default)]
    pub reason: String,
}

/// The weights a router last wrote on chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LedgerPage {
    /// The subnet's number.
    pub netuid: u16,
    /// The router's hotkey; `None` before the first weights.
    #[serde(default)]
    pub hotkey: Option<String>,
    /// The router's uid.
    #[serde(default)]
    pub uid: Option<u16>,
    /// The block they were written in; `None` before the first time.
    #[serde(default)]
    pub block: Option<u64>,
    /// The weights.
    #[serde(default)]
    pub weights: Vec<LedgerWeight>,
}

/// The newest audit of an expert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastAudit {
    /// When, milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// `verified`, `signed`, `unchecked` or `failed`.
    pub result: String,
    /// A sentence, where there is something to say.
    #[serde(default)]
    pub reason: String,
}

/// What audits found of one expert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its name.
    pub name: String,
    /// Its peer id.
    pub peer_id: String,
    /// Its hotkey.
    pub hotkey: String,
    /// Its checkpoint.
    #[serde(default)]
    pub checkpoint: String,
    /// `open`, `closed` or `unfetched`.
    pub tier: String,
    /// Answers that were audited.
    pub audits: u64,
    /// Those that failed.
    pub failures: u64,
    /// Good audits in a row.
    #[serde(default)]
    pub streak: u64,
    /// Share of its answers that is audited now.
    pub rate: f64,
    /// 0 to 1, of its hotkey.
    pub credibility: f64,
    /// Whether it is shut out.
    pub condemned: bool,
    /// Until when, milliseconds since the Unix epoch.
    #[serde(default)]
    pub condemned_until_ms: Option<u64>,
    /// The newest audit.
    #[serde(default)]
    pub last: Option<LastAudit>,
    /// Names of evidence files in the router's data directory.
    #[serde(default)]
    pub evidence: Vec<String>,
}

/// What a router's audits found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AuditsPage {
    /// The subnet.
    pub subnet: String,
    /// Whether the router audits at all.
    pub on: bool,
    /// Answers that were not audited for lack of room.
    #[serde(default)]
    pub dropped: u64,
    /// The experts.
    pub experts: Vec<AuditEntry>,
}

/// What became of a label.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Counted {
    /// The subnet.
    pub subnet: String,
    /// The class that was right.
    pub label: String,
    /// The class that the collective had answered.
    #[serde(default)]
    pub answered: Option<String>,
}

/// A client of one router. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RouterClient {
    url: String,
    http: reqwest::Client,
}

impl RouterClient {
    /// A client of the router at `url` (`http://host:port`). Nothing is sent yet.
    ///
    /// # Errors
    /// When the address is none.
    pub fn new(url: &str) -> Result<Self, ClientError> {
        let refuse = |why: String| ClientError::Address { url: url.chars().take(256).collect(), why };
        let parsed = reqwest::Url::parse(url).map_err(|error| refuse(error.to_string()))?;
        if parsed.scheme() != "http" {
            return Err(refuse("it does not begin with http://".to_owned()));
        }
        let mut builder = reqwest::Client::builder().connect_timeout(Duration::from_secs(5));
        if matches!(parsed.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| refuse(cause(&error)))?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), http })
    }

    /// The router's address.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Sends a batch: `input` has the shape of the subnet's schema with the batch dimension before it.
    ///
    /// # Errors
    /// When the router cannot be reached, refuses, or answers with something else than one row per item.
    ///
    /// # Cancel safety
    /// Dropping the future closes the request; the router stops working on it.
    pub async fn infer(
        &self,
        subnet: &SubnetName,
        input: &Tensor,
        options: &InferOptions,
    ) -> Result<InferAnswer, ClientError> {
        let parameters = AskParameters {
            k: options.k,
            deadline_ms: u64::try_from(options.deadline.as_millis()).unwrap_or(u64::MAX),
            explain: options.explain,
        };
        let (name, datatype) = (input.name(), datatype(input.dtype()));
        let ask =
            Ask { parameters, inputs: [AskInput { name, shape: input.shape(), datatype, data: Elements(input) }] };
        let request = self.http.post(format!("{}/v2/models/{subnet}/infer", self.url)).json(&ask);
        let answer: Answer = self.send(request, options.deadline + SLACK).await?;
        answer.check(input.batch() as usize).map_err(|why| ClientError::Malformed { url: self.url.clone(), why })
    }

    /// The experts the router knows.
    ///
    /// # Errors
    /// As [`RouterClient::infer`].
    pub async fn experts(&self) -> Result<ExpertsPage, ClientError> {
        self.get("/glia/v1/experts").await
    }

    /// The weights the router last wrote on chain.
    ///
    /// # Errors
    /// As [`RouterClient::infer`].
    pub async fn ledger(&self) -> Result<LedgerPage, ClientError> {
        self.get("/glia/v1/ledger").await
    }

    /// What the router's audits found.
    ///
    /// # Errors
    /// As [`RouterClient::infer`].
    pub async fn audits(&self) -> Result<AuditsPage, ClientError> {
        self.get("/glia/v1/audits").await
    }

    /// Says that `label`, the name of a class or its number, was right for item `item` of the answer whose `request_id` is
    /// `id`; `key` is one that the router knows.
    ///
    /// # Errors
    /// As [`RouterClient::infer`].
    pub async fn feedback(&self, key: &str, id: &str, label: &str, item: usize) -> Result<Counted, ClientError> {
        let body = serde_json::json!({ "id": id, "label": label, "item": item });
        let request = self.http.post(format!("{}/glia/v1/feedback", self.url)).bearer_auth(key).json(&body);
        self.send(request, SLACK).await
    }

    /// Why `uid` has the weight it has, in `subnet` (the router's first when `None`): the router's `Explanation`.
    ///
    /// # Errors
    /// As [`RouterClient::infer`].
    pub async fn explanation<T: DeserializeOwned>(
        &self,
        subnet: Option<&SubnetName>,
        uid: u16,
    ) -> Result<T, ClientError> {
        let subnet = subnet.map_or_else(String::new, |subnet| format!("&subnet={subnet}"));
        self.get(&format!("/glia/v1/ledger?uid={uid}{subnet}")).await
    }

    /// Whether the router says that it can answer requests now.
    ///
    /// # Errors
    /// When it cannot be reached at all.
    pub async fn is_ready(&self) -> Result<bool, ClientError> {
        let request = self.http.get(format!("{}/v2/health/ready", self.url)).timeout(SLACK);
        let answer = request.send().await.map_err(|error| self.failed(&error, SLACK))?;
        Ok(answer.status().is_success())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.send(self.http.get(format!("{}{path}", self.url)), SLACK).await
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
        within: Duration,
    ) -> Result<T, ClientError> {
        let malformed = |why: String| ClientError::Malformed { url: self.url.clone(), why };
        let mut answer = request.timeout(within).send().await.map_err(|error| self.failed(&error, within))?;
        let status = answer.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.failed(&error, within))? {
            if bytes.len() + chunk.len() > MAX_ANSWER {
                return Err(malformed(format!("it is longer than {MAX_ANSWER} bytes")));
            }
            bytes.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            return Err(ClientError::Refused { status: status.as_u16(), message: sentence(&bytes) });
        }
        serde_json::from_slice(&bytes).map_err(|error| malformed(error.to_string()))
    }

    fn failed(&self, error: &reqwest::Error, after: Duration) -> ClientError {
        if error.is_timeout() {
            ClientError::Timeout { url: self.url.clone(), after }
        } else {
            ClientError::Unreachable { url: self.url.clone(), why: cause(error) }
        }
    }
}

/// The innermost cause: the outer ones only repeat the address.
fn cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(next) = inner.source() {
        inner = next;
    }
    inner.to_string()
}

/// The sentence in `{"error": …}`, or the beginning of whatever came instead.
fn sentence(bytes: &[u8]) -> String {
    let parsed: Option<Value> = serde_json::from_slice(bytes).ok();
    let text = parsed.as_ref().and_then(|value| value.get("error")).and_then(Value::as_str);
    let text = text.map_or_else(|| String::from_utf8_lossy(bytes).into_owned(), ToOwned::to_owned);
    text.chars().take(500).collect()
}

/// The Open Inference Protocol's name of a dtype.
const fn datatype(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "FP32",
        DType::F16 => "FP16",
        DType::BF16 => "BF16",
        DType::I64 => "INT64",
        DType::U8 => "UINT8",
    }
}

#[derive(Serialize)]
struct Ask<'a> {
    parameters: AskParameters,
    inputs: [AskInput<'a>; 1],
}

#[derive(Serialize)]
struct AskParameters {
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<usize>,
    deadline_ms: u64,
    explain: bool,
}

#[derive(Serialize)]
struct AskInput<'a> {
    name: &'a str,
    shape: &'a [u32],
    datatype: &'static str,
    data: Elements<'a>,
}

/// A tensor's elements as one flat list of numbers.
struct Elements<'a>(&'a Tensor);

impl Serialize for Elements<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let data = self.0.data();
        match self.0.dtype() {
            DType::U8 => serializer.collect_seq(data.iter()),
            DType::I64 => serializer.collect_seq(data.as_chunks::<8>().0.iter().map(|&b| i64::from_le_bytes(b))),
            DType::F32 | DType::F16 | DType::BF16 => serializer.collect_seq(self.0.to_f32()),
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    outputs: Vec<Output>,
    #[serde(default)]
    parameters: Parameters,
}

#[derive(Deserialize)]
struct Output {
    shape: Vec<usize>,
    data: Vec<f32>,
}

#[derive(Deserialize, Default)]
struct Parameters {
    #[serde(default)]
    route_us: Option<u64>,
    #[serde(default)]
    request_id: Option<String>,
    #[serde(default)]
    aggregate_us: Option<u64>,
    #[serde(default)]
    calls: Option<u64>,
    /// A list of shares for one item, a list of such lists for more.
    #[serde(default)]
    experts: Option<Vec<Value>>,
}

fn shares(lists: Vec<Value>, items: usize) -> Result<Vec<Vec<ExpertShare>>, String> {
    let nested = items != 1 || lists.first().is_some_and(Value::is_array);
    let lists = if nested { lists } else { vec![Value::Array(lists)] };
    if lists.len() != items {
        return Err(format!("experts of {} items for {items} items", lists.len()));
    }
    let parse = |list| serde_json::from_value(list).map_err(|error| format!("its experts: {error}"));
    lists.into_iter().map(parse).collect()
}

impl Answer {
    fn check(mut self, items: usize) -> Result<InferAnswer, String> {
        let output = self.outputs.into_iter().next().ok_or("it has no output")?;
        let &[rows, classes] = output.shape.as_slice() else {
            return Err(format!("its output has shape {:?}, not [items, classes]", output.shape));
        };
        if rows != items || classes == 0 || Some(output.data.len()) != rows.checked_mul(classes) {
            return Err(format!("shape {:?} with {} numbers for {items} items", output.shape, output.data.len()));
        }
        if !output.data.iter().all(|p| p.is_finite()) {
            return Err("a probability is no number".to_owned());
        }
        let probabilities = output.data.chunks_exact(classes).map(<[f32]>::to_vec).collect();
        let experts = match self.parameters.experts.take() {
            None => vec![Vec::new(); items],
            Some(lists) => shares(lists, items)?,
        };
        let Parameters { route_us, aggregate_us, calls, request_id, .. } = self.parameters;
        Ok(InferAnswer { probabilities, experts, route_us, aggregate_us, calls, request_id })
    }
}

#[cfg(test)]
mod tests;

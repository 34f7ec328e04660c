//! The routes that are not of one bus: functions, the manifest, rules, deliveries, the node.

use std::fmt::Write as _;

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::bus::STRUCTURED;
use super::error::Error;
use super::follow::Follow;
use super::request::Client;
use edgebus_api::{
    ApplyQuery, AttemptEnded, DeadLetterPage, DeadLetterQuery, Delivery, DeliveryPage,
    DeliveryQuery, DeliveryStreamQuery, ErasureCount, ErasureQuery, ErasureRequest, Event,
    Function, FunctionList, InvokeQuery, Job, JobChange, JobPage, JobQuery, LetterPreview,
    LetterQuery, LetterSelection, ManifestEnvelope, Plan, ReplayCount, ReplayQuery, ReplayRequest,
    RuleList, RuleTest, RuleTrial, Seek, SeekRequest, ShadowRequest, SubscriptionList, Trial,
    Version,
};

const WASM: &str = "application/wasm";

/// What stays as it is in a path and in a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A path below `/v1`, each segment percent-encoded.
pub(crate) fn path(segments: &[&str]) -> String {
    let mut out = "/v1".to_owned();
    for segment in segments {
        out.push('/');
        out.extend(utf8_percent_encode(segment, PLAIN));
    }
    out
}

/// A path with the parameters of a query.
pub(crate) fn queried(path: &str, query: &impl Serialize) -> Result<String, Error> {
    let unwritable = |error: serde_json::Error| Error::Unwritable(error.to_string());
    let mut out = path.to_owned();
    let mut separator = '?';
    if let Value::Object(members) = serde_json::to_value(query).map_err(unwritable)? {
        for (name, value) in members {
            let text = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
            // Writing into a String can't fail.
            let _ = write!(
                out,
                "{separator}{name}={}",
                utf8_percent_encode(&text, PLAIN)
            );
            separator = '&';
        }
    }
    Ok(out)
}

/// How to apply a manifest.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Apply {
    /// Only say what would change.
    pub dry_run: bool,
    /// Only if this version of the rules is still active, as a dry run told it.
    pub expected_version: Option<u64>,
}

impl Client {
    /// What is deployed.
    ///
    /// # Errors
    /// The bus can't be reached.
    pub async fn functions(&self) -> Result<FunctionList, Error> {
        self.request("GET", path(&["functions"])).read().await
    }

    /// One function.
    ///
    /// # Errors
    /// It is not deployed, or the bus can't be reached.
    pub async fn function(&self, name: &str) -> Result<Function, Error> {
        self.request("GET", path(&["functions", name])).read().await
    }

    /// Deploys a component under a name.
    ///
    /// # Errors
    /// The component is unfit, or the bus can't be reached.
    pub async fn deploy(&self, name: &str, component: impl Into<Bytes>) -> Result<Function, Error> {
        let request = self.request("PUT", path(&["functions", name]));
        request.body(WASM, component).read().await
    }

    /// Takes a function away.
    ///
    /// # Errors
    /// A rule names it, or the bus can't be reached.
    pub async fn remove_function(&self, name: &str) -> Result<(), Error> {
        let request = self.request("DELETE", path(&["functions", name]));
        request.send().await.map(drop)
    }

    /// Runs a function once on an event, and commits nothing of what it does.
    ///
    /// # Errors
    /// There is no such function or bus, or the bus can't be reached. A failed attempt is an answer.
    pub async fn invoke(
        &self,
        name: &str,
        event: &Event,
        query: &InvokeQuery,
    ) -> Result<Trial, Error> {
        let path = queried(&path(&["functions", name, "invoke"]), query)?;
        let body =
            serde_json::to_vec(event).map_err(|error| Error::Unwritable(error.to_string()))?;
        self.request("POST", path)
            .body(STRUCTURED, body)
            .read()
            .await
    }

    /// Sends a component ahead of the manifest that names its digest.
    ///
    /// # Errors
    /// The digest is another component's, or the bus can't be reached.
    pub async fn stage(&self, digest: &str, component: impl Into<Bytes>) -> Result<(), Error> {
        let request = self.request("PUT", path(&["components", digest]));
        request.body(WASM, component).send().await.map(drop)
    }

    /// Applies a manifest, or says what that would change.
    ///
    /// # Errors
    /// The manifest has errors, another version is active than the expected one, or the bus can't be reached.
    pub async fn apply(&self, manifest: &ManifestEnvelope, how: &Apply) -> Result<Plan, Error> {
        let query = ApplyQuery {
            dry_run: how.dry_run.then_some(true),
        };
        let path = queried(&path(&["manifest"]), &query)?;
        let mut request = self.request("PUT", path).json(manifest);
        if let Some(version) = how.expected_version {
            request = request.header("if-match", &format!("\"{version}\""));
        }
        request.read().await
    }

    /// The text of the active manifest.
    ///
    /// # Errors
    /// None was applied yet, or the bus can't be reached.
    pub async fn manifest(&self) -> Result<String, Error> {
        self.text(&path(&["manifest"])).await
    }

    /// The active rules.
    ///
    /// # Errors
    /// The bus can't be reached.
    pub async fn rules(&self) -> Result<RuleList, Error> {
        self.request("GET", path(&["rules"])).read().await
    }

    /// Tries a rule on an event.
    ///
    /// # Errors
    /// The rule or the event can't be read, or the bus can't be reached.
    pub async fn test_rule(&self, test: &RuleTest) -> Result<RuleTrial, Error> {
        let request = self.request("POST", path(&["rules", "test"]));
        request.json(test).read().await
    }

    /// The subscriptions with their lag.
    ///
    /// # Errors
    /// The bus can't be reached.
    pub async fn subscriptions(&self) -> Result<SubscriptionList, Error> {
        self.request("GET", path(&["subscriptions"])).read().await
    }

    /// A page of deliveries.
    ///
    /// # Errors
    /// The bus refuses, or can't be reached.
    pub async fn deliveries(&self, query: &DeliveryQuery) -> Result<DeliveryPage, Error> {
        let path = queried(&path(&["deliveries"]), query)?;
        self.request("GET", path).read().await
    }

    /// One delivery with all its attempts.
    ///
    /// # Errors
    /// There is none, or the bus can't be reached.
    pub async fn delivery(&self, id: &str) -> Result<Delivery, Error> {
        self.request("GET", path(&["deliveries", id])).read().await
    }

    /// Follows attempts as they end. It is opened by its first [`Follow::next`].
    ///
    /// # Errors
    /// The query can't be written.
    pub fn follow_attempts(
        &self,
        query: &DeliveryStreamQuery,
    ) -> Result<Follow<AttemptEnded>, Error> {
        let path = queried(&path(&["deliveries", "stream"]), query)?;
        Ok(Follow::new(self, path))
    }

    /// A page of dead letters.
    ///
    /// # Errors
    /// The bus refuses, or can't be reached.
    pub async fn dead_letters(&self, query: &DeadLetterQuery) -> Result<DeadLetterPage, Error> {
        let path = queried(&path(&["dead-letters"]), query)?;
        self.request("GET", path).read().await
    }

    /// One dead letter with its event.
    ///
    /// # Errors
    /// There is none, or the bus can't be reached.
    pub async fn dead_letter(&self, id: &str) -> Result<Delivery, Error> {
        self.request("GET", path(&["dead-letters", id]))
            .read()
            .await
    }

    /// Makes a job that tries dead letters again.
    ///
    /// # Errors
    /// The selection can't be read or names what is not there, or the bus can't be reached.
    pub async fn redrive(&self, which: &LetterSelection) -> Result<Job, Error> {
        self.letters("redrive", which, &LetterQuery::default())
            .await
    }

    /// Makes a job that lets go of dead letters.
    ///
    /// # Errors
    /// As [`Client::redrive`].
    pub async fn purge(&self, which: &LetterSelection) -> Result<Job, Error> {
        self.letters("purge", which, &LetterQuery::default()).await
    }

    /// Says what a redrive would take; nothing changes.
    ///
    /// # Errors
    /// As [`Client::redrive`].
    pub async fn preview_redrive(&self, which: &LetterSelection) -> Result<LetterPreview, Error> {
        let query = LetterQuery {
            dry_run: Some(true),
        };
        self.letters("redrive", which, &query).await
    }

    /// Says what a purge would take; nothing changes.
    ///
    /// # Errors
    /// As [`Client::redrive`].
    pub async fn preview_purge(&self, which: &LetterSelection) -> Result<LetterPreview, Error> {
        let query = LetterQuery {
            dry_run: Some(true),
        };
        self.letters("purge", which, &query).await
    }

    async fn letters<T: DeserializeOwned>(
        &self,
        what: &str,
        which: &LetterSelection,
        query: &LetterQuery,
    ) -> Result<T, Error> {
        let path = queried(&path(&["dead-letters", what]), query)?;
        self.request("POST", path).json(which).read().await
    }

    /// Makes a job that delivers events again.
    ///
    /// # Errors
    /// The range can't be, it names what is not there, or the bus can't be reached.
    pub async fn replay(&self, which: &ReplayRequest) -> Result<Job, Error> {
        let request = self.request("POST", path(&["replays"]));
        request.json(which).read().await
    }

    /// Makes a job that runs functions again without effects. A candidate's component is sent before, with
    /// [`Client::stage`].
    ///
    /// # Errors
    /// The range can't be, the candidate is unfit, or the bus can't be reached.
    pub async fn shadow(&self, which: &ShadowRequest) -> Result<Job, Error> {
        let request = self.request("POST", path(&["replays", "shadow"]));
        request.json(which).read().await
    }

    /// Counts what a replay would deliver; nothing changes.
    ///
    /// # Errors
    /// As [`Client::replay`].
    pub async fn count_replay(&self, which: &ReplayRequest) -> Result<ReplayCount, Error> {
        let query = ReplayQuery {
            dry_run: Some(true),
        };
        let path = queried(&path(&["replays"]), &query)?;
        self.request("POST", path).json(which).read().await
    }

    /// Makes a job that erases events.
    ///
    /// # Errors
    /// Nothing says which events, the range can't be, or the bus can't be reached.
    pub async fn erase(&self, which: &ErasureRequest) -> Result<Job, Error> {
        let request = self.request("POST", path(&["erasures"]));
        request.json(which).read().await
    }

    /// Counts what an erasure would erase; nothing changes.
    ///
    /// # Errors
    /// As [`Client::erase`].
    pub async fn count_erasure(&self, which: &ErasureRequest) -> Result<ErasureCount, Error> {
        let query = ErasureQuery {
            dry_run: Some(true),
        };
        let path = queried(&path(&["erasures"]), &query)?;
        self.request("POST", path).json(which).read().await
    }

    /// Moves a subscription back or forward; with `dry_run` only says what that would do.
    ///
    /// # Errors
    /// There is no such subscription or place, or the bus can't be reached.
    pub async fn seek(&self, name: &str, to: &SeekRequest, dry_run: bool) -> Result<Seek, Error> {
        let query = ReplayQuery {
            dry_run: dry_run.then_some(true),
        };
        let path = queried(&path(&["subscriptions", name, "seek"]), &query)?;
        self.request("POST", path).json(to).read().await
    }

    /// A page of jobs, the newest first.
    ///
    /// # Errors
    /// The bus refuses, or can't be reached.
    pub async fn jobs(&self, query: &JobQuery) -> Result<JobPage, Error> {
        let path = queried(&path(&["jobs"]), query)?;
        self.request("GET", path).read().await
    }

    /// One job.
    ///
    /// # Errors
    /// There is none, or the bus can't be reached.
    pub async fn job(&self, id: u64) -> Result<Job, Error> {
        let path = path(&["jobs", &id.to_string()]);
        self.request("GET", path).read().await
    }

    /// Pauses, resumes or cancels a job, or gives it another rate.
    ///
    /// # Errors
    /// There is none, it has ended, or the bus can't be reached.
    pub async fn change_job(&self, id: u64, change: &JobChange) -> Result<Job, Error> {
        let path = path(&["jobs", &id.to_string()]);
        self.request("PATCH", path).json(change).read().await
    }

    /// Whether the process should go on.
    ///
    /// # Errors
    /// [`Error::Refused`] with 503: its store failed. Or the bus can't be reached.
    pub async fn live(&self) -> Result<(), Error> {
        self.get("/livez").await.map(drop)
    }

    /// Whether the bus should get requests.
    ///
    /// # Errors
    /// [`Error::Refused`] with 503: not now. Or the bus can't be reached.
    pub async fn ready(&self) -> Result<(), Error> {
        self.get("/readyz").await.map(drop)
    }

    /// What answers.
    ///
    /// # Errors
    /// The bus can't be reached.
    pub async fn version(&self) -> Result<Version, Error> {
        self.request("GET", "/version").read().await
    }

    /// The metrics in Prometheus' text format.
    ///
    /// # Errors
    /// The bus can't be reached.
    pub async fn metrics(&self) -> Result<String, Error> {
        self.text("/metrics").await
    }

    async fn text(&self, path: &str) -> Result<String, Error> {
        let body = self.get(path).await?;
        let text = String::from_utf8(body.into());
        text.map_err(|_| Error::Unreadable("it is not UTF-8".to_owned()))
    }
}

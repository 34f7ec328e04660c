//! Shadow replays: what is asked for becomes a range, subscriptions and a candidate, and a job is made of them.
//!
//! Never here: how deliveries are run and compared; `pipeline::shadow` does that.

use edgebus_manifest as manifest;

use super::Bus;
use super::deliveries::not_found;
use super::replays::{ReplayRequest, length, wrong};
use crate::pipeline::Snapshot;
use edgebus_model::error::{Error, Kind};
use edgebus_model::{
    Candidate, Code, Digest, FunctionConfig, Job, JobId, Name, ReplaySpec, ShadowReport,
    ShadowSpec, SubscriptionId,
};

/// A shadow replay as it is asked for.
#[derive(Clone, Debug, Default)]
pub struct ShadowRequest {
    /// Which deliveries; its name is not used, and it always takes those who got each event then.
    pub range: ReplayRequest,
    /// Those to this function alone.
    pub function: Option<Name>,
    /// A component that is run in place of the deployed one: staged before, or deployed.
    pub component: Option<Digest>,
    /// A manifest whose declaration of the function is used in place of the active one.
    pub manifest: Option<String>,
    /// As [`ShadowSpec::limit`].
    pub limit: Option<u64>,
}

impl Bus {
    /// Makes a job that runs functions again without effects, and tells what differs.
    ///
    /// # Errors
    /// As [`Bus::replay`]; [`Kind::NotFound`] for the function; [`Kind::Invalid`] for a candidate that no function is
    /// named for, for a component that is not there or is no function, and for a manifest that can't be read.
    pub async fn shadow(&self, asked: ShadowRequest) -> Result<Job, Error> {
        let mut range = self.replay_spec(&asked.range).await?;
        range.as_matched = true;
        let (candidate, component) = match &asked.function {
            None if asked.component.is_some() || asked.manifest.is_some() => {
                return Err(wrong(
                    "/function",
                    "a candidate takes the place of one function".to_owned(),
                    "say which one",
                ));
            }
            None => (None, None),
            Some(function) => {
                range.subscriptions = of_function(&self.snapshot(), &range, function)?;
                self.candidate(function, &asked).await?
            }
        };
        let staged = candidate.as_ref().map(|candidate| candidate.digest);
        let of = length(range.first, range.last);
        let spec = ShadowSpec {
            range,
            function: asked.function,
            candidate,
            limit: asked.limit,
        };
        let rate = asked.range.rate;
        let started = self.pipeline.start_shadow(spec, component, rate, of);
        let job = started.await?;
        let now = self.pipeline.clock().now();
        self.staging.drop_all(staged, now);
        Ok(job)
    }

    /// What a shadow replay has found; nothing before it has run anything.
    ///
    /// # Errors
    /// What reading can meet.
    pub async fn shadow_report(&self, id: JobId) -> Result<ShadowReport, Error> {
        let found = self.read(move |store, _| Ok(store.shadow_report(id)?));
        Ok(found.await?.unwrap_or_default())
    }

    /// What is run in place of a function, and the component of it.
    async fn candidate(
        &self,
        function: &Name,
        asked: &ShadowRequest,
    ) -> Result<(Option<Candidate>, Option<bytes::Bytes>), Error> {
        if asked.component.is_none() && asked.manifest.is_none() {
            return Ok((None, None));
        }
        let snapshot = self.snapshot();
        let deployed = snapshot.functions.get(function);
        let deployed = deployed.map(|deployed| deployed.revision.clone());
        let deployed =
            deployed.ok_or_else(|| not_found("function", function.as_str(), "functions"))?;
        drop(snapshot);
        let (mut digest, mut config) = (deployed.digest, deployed.config);
        if let Some(text) = &asked.manifest {
            let (named, declared) = self.declared(function, text.clone()).await?;
            digest = named.unwrap_or(digest);
            config = declared;
        }
        digest = asked.component.unwrap_or(digest);
        let staged = self.staging.get(digest, self.pipeline.clock().now());
        let component = match staged {
            Some(component) => Some(component),
            None => {
                self.read(move |store, _| Ok(store.component(digest)?))
                    .await?
            }
        };
        let component = component.ok_or_else(|| {
            wrong(
                "/component",
                format!("the bus does not have the component blake3:{digest}"),
                &format!("send it first: PUT /v1/components/{digest}"),
            )
        })?;
        Ok((Some(Candidate { digest, config }), Some(component)))
    }

    /// What a manifest says of a function: its component, if that is named by digest, and what it is given.
    async fn declared(
        &self,
        function: &Name,
        text: String,
    ) -> Result<(Option<Digest>, FunctionConfig), Error> {
        let document = self.read_for_plan(move |_, _| Ok(manifest::Document::read(&text)));
        let document = document.await?;
        if !document.errors.is_empty() {
            let refused = "the candidate's manifest can't be read";
            return Err(Error::invalid(refused, document.errors).coded(Code::ManifestInvalid));
        }
        let functions = document.manifest.functions.into_iter();
        let own = functions.into_iter().find(|own| own.name == *function);
        let own = own.ok_or_else(|| {
            wrong(
                "/manifest",
                format!("the manifest does not declare the function `{function}`"),
                "name a function of it, or leave the manifest out",
            )
        })?;
        let digest = match own.component {
            Some(manifest::ComponentSource::Digest(digest)) => Some(digest),
            _ => None,
        };
        Ok((digest, own.config))
    }
}

/// Those of a range's subscriptions that go to a function.
fn of_function(
    snapshot: &Snapshot,
    range: &ReplaySpec,
    function: &Name,
) -> Result<Vec<SubscriptionId>, Error> {
    let all = snapshot.subscriptions.values();
    let own = all.filter(|own| own.active && own.bus == range.bus && range.goes_to(own.id));
    let own = own.filter(|own| own.target.to.function() == Some(function));
    let mut chosen: Vec<_> = own.map(|own| own.id).collect();
    chosen.sort_unstable();
    if chosen.is_empty() {
        let what = "active subscription of this bus that is asked for and goes to the function";
        return Err(not_found(what, function.as_str(), "subscriptions"));
    }
    if chosen.len() > ReplaySpec::SUBSCRIPTIONS_MAX {
        return Err(Error::new(
            Kind::Invalid,
            format!(
                "{} subscriptions go to the function, and {} can be looked at; name some of them",
                chosen.len(),
                ReplaySpec::SUBSCRIPTIONS_MAX
            ),
        ));
    }
    Ok(chosen)
}

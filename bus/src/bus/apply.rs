//! Planning and applying a manifest: names become sources, differences become a plan, and all of it
//! takes place in one transaction or not at all.
//!
//! Never here: files; what is in force after a fault is what was in force before it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::staging::Staging;
use super::{Bus, whole};
use crate::error::{Error, Fault, Kind};
use crate::manifest::{self, Change, ComponentSource, Manifest, Owed, Owing};
use crate::model::limits::PAGE_ROWS_MAX;
use crate::model::{Code, Digest, FunctionConfig, Name};
use crate::pipeline::{FunctionSource, Snapshot, changed};

/// Subscriptions whose owed deliveries are counted for one plan.
const COUNTED_MAX: usize = 64;

/// What a manifest at fault is answered with.
const REFUSED: &str = "the manifest can't be applied; nothing was changed";

/// A manifest to be planned or applied.
#[derive(Clone, Debug, Default)]
pub struct Application {
    /// Its text.
    pub text: String,
    /// The components of functions, where they come with it.
    pub components: BTreeMap<Name, Bytes>,
    /// The digests of functions' components that are staged, deployed, or still to be sent.
    pub digests: BTreeMap<Name, Digest>,
    /// Plan only.
    pub dry_run: bool,
    /// Apply only if this rule-set version is in force.
    pub expected: Option<u64>,
}

/// What applying a manifest would do or did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Each change, in the order of the sections.
    pub changes: Vec<Change>,
    /// The rule-set version in force afterwards; of a dry run, the one that the plan starts from.
    pub version: u64,
    /// Components that the bus has yet to be sent before the manifest can be applied.
    pub missing: Vec<Digest>,
}

/// A function of the manifest with its source.
type Named = (Name, FunctionSource, FunctionConfig);

impl Bus {
    /// Plans (`dry_run`) or applies a manifest text. A function whose component is a path, or not
    /// named, stays as it is deployed: only the command line reads files.
    ///
    /// # Errors
    /// [`Kind::Invalid`] with every fault, each with its place.
    pub async fn apply_manifest(&self, text: &str, dry_run: bool) -> Result<Plan, Error> {
        self.apply_with_components(text, &BTreeMap::new(), dry_run)
            .await
    }

    /// As [`Bus::apply_manifest`], with the components of the functions that bring one.
    ///
    /// # Errors
    /// [`Kind::Invalid`] with every fault, each with its place.
    pub async fn apply_with_components(
        &self,
        text: &str,
        components: &BTreeMap<Name, Bytes>,
        dry_run: bool,
    ) -> Result<Plan, Error> {
        self.apply(Application {
            text: text.to_owned(),
            components: components.clone(),
            dry_run,
            ..Application::default()
        })
        .await
    }

    /// Keeps a component in memory for a manifest that comes within ten minutes and names its digest.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if `digest` is another component's; [`Kind::Busy`] if too much waits already.
    pub fn stage(&self, digest: Digest, component: Bytes) -> Result<(), Error> {
        let own = Digest::of(&component);
        if own != digest {
            return Err(Error::new(
                Kind::Invalid,
                format!("the component's digest is blake3:{own}, not blake3:{digest}"),
            ));
        }
        self.staging
            .put(digest, component, self.pipeline.clock().now())
    }

    /// Plans or applies a manifest with all that belongs to it.
    ///
    /// # Errors
    /// [`Kind::Invalid`] with every fault, each with its place; [`Kind::Changed`] if another version
    /// than the expected one is in force. Nothing was changed then.
    pub async fn apply(&self, application: Application) -> Result<Plan, Error> {
        let document = manifest::Document::read(&application.text);
        if !document.faults.is_empty() {
            return Err(Error::invalid(REFUSED, document.faults).coded(Code::ManifestFaulty));
        }
        let snapshot = self.snapshot();
        // Applying looks again, where no other change can come between.
        if let Some(expected) = application.expected
            && expected != snapshot.version
        {
            return Err(changed(expected, snapshot.version));
        }
        let (functions, missing) = self.sources(&document, &application, &snapshot)?;
        let changes = self.plan(&snapshot, &document.manifest, &functions).await?;
        if application.dry_run {
            let missing = missing.into_keys().collect();
            return Ok(Plan {
                changes,
                version: snapshot.version,
                missing,
            });
        }
        if !missing.is_empty() {
            let faults = missing.into_values().collect();
            return Err(Error::invalid(REFUSED, faults).coded(Code::FunctionNotDeployed));
        }
        let named: Vec<Digest> = application.digests.values().copied().collect();
        let bus = self.clone();
        let manifest = document.manifest.clone();
        let applied = whole(async move {
            let (pipeline, text) = (bus.pipeline.clone(), application.text);
            let applied = pipeline
                .apply_manifest(
                    text,
                    manifest.buses,
                    functions,
                    manifest.rules,
                    application.expected,
                )
                .await?;
            bus.staging.drop_all(named, bus.pipeline.clock().now());
            Ok(applied)
        })
        .await;
        // Who compiles a component knows its name, and not where the manifest names it.
        let version = applied.map_err(|mut error| {
            for fault in error
                .faults
                .iter_mut()
                .filter(|fault| fault.place.is_none())
            {
                fault.place = document.place(&fault.pointer, manifest::Side::Value);
            }
            error
        })?;
        Ok(Plan {
            changes,
            version,
            missing: Vec::new(),
        })
    }

    /// Where each function comes from, and the components that are nowhere yet, each with its fault.
    fn sources(
        &self,
        document: &manifest::Document,
        application: &Application,
        snapshot: &Snapshot,
    ) -> Result<(Vec<Named>, BTreeMap<Digest, Fault>), Error> {
        let declared = &document.manifest.functions;
        let (mut functions, mut faults) = (Vec::with_capacity(declared.len()), Vec::new());
        let mut missing = BTreeMap::new();
        for function in declared {
            let name = &function.name;
            let pointer = format!("/functions/{name}/component");
            let note = |reason: String, remedy: String| {
                document.note(&pointer, manifest::Side::Value, reason, remedy)
            };
            let digest = match (application.digests.get(name), &function.component) {
                (Some(digest), _) | (None, Some(ComponentSource::Digest(digest))) => Some(*digest),
                _ => None,
            };
            let source = match (application.components.get(name), digest) {
                (Some(bytes), _) => FunctionSource::Component(bytes.clone()),
                (None, Some(digest)) => match self.held(&self.staging, snapshot, digest) {
                    Some(source) => source,
                    None => {
                        let fault = note(
                            format!("the bus does not have the component blake3:{digest}"),
                            format!("send it first: PUT /v1/components/{digest}"),
                        );
                        missing.insert(digest, fault);
                        FunctionSource::Stored(digest)
                    }
                },
                (None, None) => FunctionSource::Deployed,
            };
            if matches!(source, FunctionSource::Deployed) && !snapshot.functions.contains_key(name)
            {
                faults.push(note(
                    format!("the function `{name}` is not deployed, and only the command line reads component files"),
                    format!("use `edgebus apply`, or deploy it first: curl -T {name}.wasm -H 'content-type: application/wasm' URL/v1/functions/{name}"),
                ));
            }
            functions.push((name.clone(), source, function.config.clone()));
        }
        let names = application
            .components
            .keys()
            .chain(application.digests.keys());
        for stranger in names.filter(|name| !declared.iter().any(|own| own.name == **name)) {
            faults.push(document.note(
                "/functions",
                manifest::Side::Key,
                format!("a component came for function `{stranger}`, which is not declared"),
                "declare it, or leave its component out",
            ));
        }
        if faults.is_empty() {
            Ok((functions, missing))
        } else {
            Err(Error::invalid(REFUSED, faults).coded(Code::FunctionNotDeployed))
        }
    }

    /// Where the bus has the component of this digest.
    fn held(
        &self,
        staging: &Staging,
        snapshot: &Snapshot,
        digest: Digest,
    ) -> Option<FunctionSource> {
        let mut deployed = snapshot.functions.values();
        if deployed.any(|deployed| deployed.revision.digest == digest) {
            return Some(FunctionSource::Stored(digest));
        }
        let staged = staging.get(digest, self.pipeline.clock().now());
        staged.map(FunctionSource::Component)
    }

    async fn plan(
        &self,
        snapshot: &std::sync::Arc<Snapshot>,
        new: &Manifest,
        functions: &[Named],
    ) -> Result<Vec<Change>, Error> {
        let replaced: BTreeSet<Name> = functions
            .iter()
            .filter(|(name, source, _)| {
                let digest = match source {
                    FunctionSource::Component(bytes) => Digest::of(bytes),
                    FunctionSource::Stored(digest) => *digest,
                    FunctionSource::Deployed => return false,
                };
                let deployed = snapshot.functions.get(name);
                deployed.is_some_and(|deployed| deployed.revision.digest != digest)
            })
            .map(|(name, _, _)| name.clone())
            .collect();
        // Before the first manifest, and for a text of an older format, everything is new.
        let mut old = manifest::parse(&snapshot.manifest).unwrap_or_default();
        // One that was deleted since then would come back.
        old.functions
            .retain(|function| snapshot.functions.contains_key(&function.name));
        let (new, snapshot) = (new.clone(), snapshot.clone());
        self.read(move |store| {
            let mut failed = None;
            let mut counted = 0;
            let mut count = |whose: Owing<'_>| {
                let all = snapshot.subscriptions.values();
                let mut owed = 0;
                let mut more = false;
                for subscription in all.filter(|subscription| match whose {
                    Owing::Function(function) => subscription.target.function == *function,
                    Owing::Rule(rule) => subscription.rule == *rule,
                    Owing::Subscription(rule, function) => {
                        subscription.rule == *rule && subscription.target.function == *function
                    }
                }) {
                    counted += 1;
                    if counted > COUNTED_MAX || failed.is_some() {
                        return None;
                    }
                    match store.deliveries(subscription.id, None, PAGE_ROWS_MAX) {
                        Ok(page) => {
                            owed += page.len();
                            more |= page.len() >= PAGE_ROWS_MAX;
                        }
                        Err(error) => failed = Some(error),
                    }
                }
                Some(Owed { count: owed, more })
            };
            let changes = manifest::plan(&old, &new, &replaced, &mut count);
            match failed {
                None => Ok(changes),
                Some(error) => Err(error),
            }
        })
        .await
    }
}

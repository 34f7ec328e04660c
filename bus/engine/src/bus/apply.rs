//! Plans and applies a manifest: resolves components, compares, and applies everything in one transaction or
//! nothing.
//!
//! After an error the active manifest is unchanged. Never here: files.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::Bus;
use crate::pipeline::{FunctionSource, Snapshot, changed};
use edgebus_manifest::{self as manifest, Change, ComponentSource};
use edgebus_model::error::{Error, InputError, Kind};
use edgebus_model::{Code, Digest, FunctionConfig, Name};

/// What an invalid manifest is answered with.
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
    /// Apply only if this rule-set version is active.
    pub expected: Option<u64>,
}

/// What applying a manifest would do or did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Plan {
    /// Each change, in the order of the sections.
    pub changes: Vec<Change>,
    /// The active rule-set version afterwards; of a dry run, the one that the plan starts from.
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
    /// [`Kind::Invalid`] with every error, each with its place.
    pub async fn apply_manifest(&self, text: &str, dry_run: bool) -> Result<Plan, Error> {
        self.apply_with_components(text, &BTreeMap::new(), dry_run)
            .await
    }

    /// As [`Bus::apply_manifest`], with the components of the functions that bring one.
    ///
    /// # Errors
    /// [`Kind::Invalid`] with every error, each with its place.
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
    /// [`Kind::Invalid`] with every error, each with its place; [`Kind::Changed`] if another version
    /// than the expected one is active. Nothing was changed then.
    pub async fn apply(&self, application: Application) -> Result<Plan, Error> {
        let text = application.text.clone();
        // On a blocking worker, as all that takes long with many rules.
        let document = self.read_for_plan(move |_, _| Ok(manifest::Document::read(&text)));
        let document = document.await?;
        if !document.errors.is_empty() {
            return Err(Error::invalid(REFUSED, document.errors).coded(Code::ManifestInvalid));
        }
        let snapshot = self.snapshot();
        // Applying looks again, where no other change can come between.
        if let Some(expected) = application.expected
            && expected != snapshot.version
        {
            return Err(changed(expected, snapshot.version));
        }
        let (functions, missing) = self.sources(&document, &application, &snapshot)?;
        let replaced = replaced(&snapshot, &functions);
        let (mut document, changes) = self.plan(snapshot.clone(), document, replaced).await?;
        let version = snapshot.version;
        // Who lets go of a snapshot or a document last takes it down, and not here.
        drop(snapshot);
        if application.dry_run {
            let missing = missing.into_keys().collect();
            drop_in_background(document);
            return Ok(Plan {
                changes,
                version,
                missing,
            });
        }
        if !missing.is_empty() {
            let errors = missing.into_values().collect();
            return Err(Error::invalid(REFUSED, errors).coded(Code::FunctionNotDeployed));
        }
        let named: Vec<Digest> = application.digests.values().copied().collect();
        let bus = self.clone();
        let manifest = std::mem::take(&mut document.manifest);
        let applied = self
            .whole(async move {
                let (pipeline, text) = (bus.pipeline.clone(), application.text);
                let applied = pipeline
                    .apply_manifest_from(
                        text,
                        manifest.buses,
                        functions,
                        manifest.rules,
                        manifest.starts,
                        application.expected,
                    )
                    .await?;
                bus.staging.drop_all(named, bus.pipeline.clock().now());
                Ok(applied)
            })
            .await;
        // Add the line and column here; the compiler does not know them.
        let version = applied.map_err(|mut error| {
            for input_error in error
                .errors
                .iter_mut()
                .filter(|input_error| input_error.place.is_none())
            {
                input_error.place = document.place(&input_error.pointer, manifest::Side::Value);
            }
            error
        })?;
        drop_in_background(document);
        Ok(Plan {
            changes,
            version,
            missing: Vec::new(),
        })
    }

    /// Where each function comes from, and the components that are nowhere yet, each with its error.
    fn sources(
        &self,
        document: &manifest::Document,
        application: &Application,
        snapshot: &Snapshot,
    ) -> Result<(Vec<Named>, BTreeMap<Digest, InputError>), Error> {
        let declared = &document.manifest.functions;
        let deployed = snapshot.functions.values();
        let deployed: BTreeSet<Digest> = deployed.map(|own| own.revision.digest).collect();
        let (mut functions, mut errors) = (Vec::with_capacity(declared.len()), Vec::new());
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
                (None, Some(digest)) => match self.held(&deployed, digest) {
                    Some(source) => source,
                    None => {
                        let error = note(
                            format!("the bus does not have the component blake3:{digest}"),
                            format!("send it first: PUT /v1/components/{digest}"),
                        );
                        missing.insert(digest, error);
                        FunctionSource::Stored(digest)
                    }
                },
                (None, None) => FunctionSource::Deployed,
            };
            if matches!(source, FunctionSource::Deployed) && !snapshot.functions.contains_key(name)
            {
                errors.push(note(
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
        let own: BTreeSet<&Name> = declared.iter().map(|own| &own.name).collect();
        for stranger in names.filter(|name| !own.contains(name)) {
            errors.push(document.note(
                "/functions",
                manifest::Side::Key,
                format!("a component came for function `{stranger}`, which is not declared"),
                "declare it, or leave its component out",
            ));
        }
        if errors.is_empty() {
            Ok((functions, missing))
        } else {
            Err(Error::invalid(REFUSED, errors).coded(Code::FunctionNotDeployed))
        }
    }

    /// Where the bus has the component of this digest.
    fn held(&self, deployed: &BTreeSet<Digest>, digest: Digest) -> Option<FunctionSource> {
        if deployed.contains(&digest) {
            return Some(FunctionSource::Stored(digest));
        }
        let staged = self.staging.get(digest, self.pipeline.clock().now());
        staged.map(FunctionSource::Component)
    }
}

/// Frees a large document off the async threads, because that takes milliseconds.
fn drop_in_background(document: manifest::Document) {
    drop(tokio::task::spawn_blocking(move || drop(document)));
}

/// The functions whose component is another than the deployed one.
fn replaced(snapshot: &Snapshot, functions: &[Named]) -> BTreeSet<Name> {
    let other = functions.iter().filter(|(name, source, _)| {
        let digest = match source {
            FunctionSource::Component(bytes) => Digest::of(bytes),
            FunctionSource::Stored(digest) => *digest,
            FunctionSource::Deployed => return false,
        };
        let deployed = snapshot.functions.get(name);
        deployed.is_some_and(|deployed| deployed.revision.digest != digest)
    });
    other.map(|(name, _, _)| name.clone()).collect()
}

//! The manifest: plan or apply it as a whole, and see the one in force.

use hyper::header::{ETAG, HeaderValue};

use super::call::{Answer, Call, json, text};
use super::json::{Object, string};
use super::problem::{Cause, Problem};
use crate::error::Kind;

/// What YAML is called; RFC 9512 says the first.
pub(super) const TYPES: [&str; 4] = [
    "application/yaml",
    "text/yaml",
    "application/x-yaml",
    "text/x-yaml",
];

/// `PUT /v1/manifest?dry_run=true`.
pub(super) async fn apply(call: Call) -> Answer {
    let dry_run = call.query(&["dry_run"])?.flag("dry_run")?;
    let app = call.app.clone();
    let (bytes, _charge) = call.body(&TYPES, app.limits.manifest_bytes_max).await?;
    let Ok(manifest) = std::str::from_utf8(&bytes) else {
        return Err(Problem::fault("", "the manifest is not UTF-8", ""));
    };
    let plan = app.bus.apply_manifest(manifest, dry_run).await?;
    let mut out = Vec::new();
    let mut object = Object::new(&mut out);
    object.boolean("dry_run", dry_run);
    object.number("version", plan.version);
    object.array("changes", &plan.changes, |out, change| string(out, change));
    object.end();
    Ok(json(out))
}

/// `GET /v1/manifest`: its text, byte for byte; the rule-set version is the ETag.
pub(super) async fn get(call: Call) -> Answer {
    call.query(&[])?;
    let (manifest, version) = call.app.bus.manifest();
    if manifest.is_empty() {
        return Err(Problem::new(
            Cause::Handle(Kind::NotFound),
            "no manifest was applied yet",
        ));
    }
    let mut response = text("application/yaml", manifest.as_bytes().to_vec());
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(response)
}

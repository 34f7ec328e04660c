//! The manifest: plan or apply it as a whole, see the active one, and send components ahead of it.

use std::collections::BTreeMap;

use edgebus_api as api;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MATCH};

use super::call::{Answer, Call, json, object, text};
use super::problem::{Cause, Problem};
use edgebus_engine::bus::Application;
use edgebus_model::error::Kind;
use edgebus_model::{Digest, Name};

/// What YAML is called, RFC 9512 says the first; and the envelope.
pub(super) const TYPES: [&str; 5] = [
    "application/yaml",
    "text/yaml",
    "application/x-yaml",
    "text/x-yaml",
    "application/json",
];

/// `PUT /v1/manifest?dry_run=true`: YAML, or the envelope in JSON.
pub(super) async fn apply(call: Call) -> Answer {
    let query: api::ApplyQuery = call.query()?;
    let dry_run = query.dry_run.unwrap_or(false);
    let expected = expected(&call.headers)?;
    let enveloped = call
        .headers
        .get(CONTENT_TYPE)
        .is_some_and(|given| is_json(given.as_bytes()));
    let app = call.app.clone();
    // In an envelope each line end and each quote of the text takes two bytes.
    let bytes_max = app.limits.manifest_bytes_max * if enveloped { 2 } else { 1 };
    let (bytes, _reservation) = call.body(&TYPES, bytes_max).await?;
    let mut application = if enveloped {
        opened(&bytes)?
    } else {
        let Ok(manifest) = std::str::from_utf8(&bytes) else {
            return Err(Problem::input_error("", "the manifest is not UTF-8", ""));
        };
        Application {
            text: manifest.to_owned(),
            ..Application::default()
        }
    };
    application.dry_run = dry_run;
    application.expected = expected;
    let plan = app.bus.apply(application).await?;
    let changes = plan.changes.iter().map(|change| api::PlannedChange {
        kind: api::ChangeKind::from(change.kind.word()),
        what: api::ChangedThing::from(change.what.word()),
        name: change.name.clone(),
        aspects: change.aspects.iter().map(ToString::to_string).collect(),
        effect: change.effect.clone(),
    });
    let missing = plan.missing.iter();
    let answer = api::Plan {
        dry_run,
        version: plan.version,
        changes: changes.collect(),
        missing: missing.map(|digest| format!("blake3:{digest}")).collect(),
    };
    Ok(tagged(json(&answer), plan.version))
}

fn is_json(media_type: &[u8]) -> bool {
    let essence = media_type.split(|byte| *byte == b';').next();
    essence.is_some_and(|essence| {
        essence
            .trim_ascii()
            .eq_ignore_ascii_case(b"application/json")
    })
}

fn opened(bytes: &[u8]) -> Result<Application, Problem> {
    let envelope: api::ManifestEnvelope = object(bytes).map_err(|error| {
        Problem::input_error(
            "",
            error.to_string(),
            "write {\"manifest\": \"YAML\", \"components\": {\"NAME\": \"blake3:DIGEST\"}}, or send the YAML as application/yaml",
        )
    })?;
    let mut digests = BTreeMap::new();
    for (name, text) in &envelope.components {
        let pointer = format!("/components/{}", name.replace('~', "~0").replace('/', "~1"));
        let name = Name::new(name)
            .map_err(|error| Problem::input_error(pointer.as_str(), error.to_string(), ""))?;
        digests.insert(name, digest(&pointer, text)?);
    }
    Ok(Application {
        text: envelope.manifest,
        digests,
        ..Application::default()
    })
}

pub(super) fn digest(pointer: &str, text: &str) -> Result<Digest, Problem> {
    Digest::from_hex(text.strip_prefix("blake3:").unwrap_or(text)).ok_or_else(|| {
        Problem::input_error(
            pointer,
            "this is not a digest",
            "write `blake3:` and 64 hexadecimal digits",
        )
    })
}

/// The rule-set version that `If-Match` asks for.
fn expected(headers: &HeaderMap) -> Result<Option<u64>, Problem> {
    let mut given = headers.get_all(IF_MATCH).iter();
    let (first, second) = (given.next(), given.next());
    let Some(tag) = first else {
        return Ok(None);
    };
    let tag = tag.to_str().unwrap_or_default().trim();
    if tag == "*" && second.is_none() {
        return Ok(None);
    }
    let version = tag
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .and_then(|version| version.parse().ok());
    match version {
        Some(version) if second.is_none() => Ok(Some(version)),
        _ => Err(Problem::input_error(
            "",
            "If-Match must be one ETag of the manifest, as in \"7\"",
            "take it from the answer of a dry run or of GET /v1/manifest",
        )),
    }
}

fn tagged(mut response: axum::response::Response, version: u64) -> axum::response::Response {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// `PUT /v1/components/{digest}`: keeps a component for a manifest that names it within ten minutes.
pub(super) async fn stage(call: Call) -> Answer {
    let digest = digest("", call.path("digest"))?;
    call.query::<api::NoQuery>()?;
    let app = call.app.clone();
    let (component, _reservation) = call
        .body(&["application/wasm"], app.limits.component_bytes_max)
        .await?;
    // A slice would keep the whole read buffer, with other bytes of the connection, in memory.
    let component = bytes::Bytes::copy_from_slice(&component);
    app.bus.stage(digest, component)?;
    let mut response = axum::response::Response::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

/// `GET /v1/manifest`: its text, byte for byte; the rule-set version is the ETag.
pub(super) async fn get(call: Call) -> Answer {
    call.query::<api::NoQuery>()?;
    let (manifest, version) = call.app.bus.manifest();
    if manifest.is_empty() {
        return Err(Problem::new(
            Cause::Handle(Kind::NotFound),
            "no manifest was applied yet",
        ));
    }
    let response = text("application/yaml", manifest.as_bytes().to_vec());
    Ok(tagged(response, version))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_names_its_components_by_digest() {
        let digest = Digest::of(b"x");
        let good = format!(
            r#"{{"manifest":"version: 1\n","components":{{"a":"blake3:{digest}","b":"{digest}"}}}}"#
        );
        let opened_good = opened(good.as_bytes()).unwrap();
        assert_eq!(opened_good.text, "version: 1\n");
        assert_eq!(opened_good.digests.len(), 2);
        for (body, pointer) in [
            ("{}", ""),
            ("version: 1", ""),
            (r#"{"manifest":"","x":1}"#, ""),
            (
                r#"{"manifest":"","components":{"a/b":"x"}}"#,
                "/components/a~1b",
            ),
            (
                r#"{"manifest":"","components":{"a":"blake3:1"}}"#,
                "/components/a",
            ),
        ] {
            let problem = opened(body.as_bytes()).unwrap_err();
            assert_eq!(
                (problem.status(), problem.errors[0].pointer.as_str()),
                (400, pointer),
                "{body}"
            );
        }
    }

    #[test]
    fn if_match_is_one_version() {
        let check = |tags: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for tag in tags {
                headers.append(IF_MATCH, HeaderValue::from_static(tag));
            }
            expected(&headers).map_err(|problem| problem.status())
        };
        assert_eq!(check(&[]), Ok(None));
        assert_eq!(check(&["*"]), Ok(None));
        assert_eq!(check(&["\"7\""]), Ok(Some(7)));
        for bad in [
            &["7"][..],
            &["W/\"7\""],
            &["\"a\""],
            &["\"1\", \"2\""],
            &["\"1\"", "\"2\""],
        ] {
            assert_eq!(check(bad), Err(400), "{bad:?}");
        }
    }
}

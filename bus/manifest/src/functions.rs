//! The section `functions`: where each component comes from, how it is built, what bounds it and what
//! it is given. Never here: reading a component or running a build.

use std::collections::{BTreeMap, BTreeSet};

use edgebus_model::{Digest, FunctionConfig, FunctionLimits, Name};

use super::Section;
use super::cursor::{Cursor, Fields};
use super::errors::{Errors, shown};
use super::scalar::name_of;
use super::shape::Words;
use super::shape::functions::{EXAMPLE, FUNCTION, KEY_BYTES_MAX};

/// Where a function's component comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ComponentSource {
    /// A file, relative to the manifest's folder.
    Path(String),
    /// A component that the store has: `blake3:` and 64 hexadecimal digits in the manifest.
    Digest(Digest),
}

/// How a component is built, for `edgebus dev`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Build {
    /// The command line, run by a shell in the manifest's folder.
    pub command: String,
    /// Files and folders whose change asks for a new build, relative to the manifest's folder.
    pub watch: Vec<String>,
}

/// A function as the manifest declares it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FunctionDeclaration {
    /// Its name.
    pub name: Name,
    /// Its component; `None` is the one that is deployed under this name.
    pub component: Option<ComponentSource>,
    /// How that component is built.
    pub build: Option<Build>,
    /// What it is given and what bounds it.
    pub config: FunctionConfig,
}

/// Reads the section.
pub(super) fn read(
    section: Option<&Cursor<'_>>,
    errors: &mut Errors,
) -> Section<FunctionDeclaration> {
    let mut functions = Section {
        items: Vec::new(),
        names: BTreeSet::new(),
    };
    let entries = section.and_then(|at| at.entries("`functions`", EXAMPLE, errors));
    for named in entries.unwrap_or_default() {
        functions.names.insert(named.key.to_owned());
        let name = name_of(named.key, &named.key_spot, errors);
        let function = function(&named.value, name, errors);
        functions.items.extend(function);
    }
    functions
}

fn function(
    at: &Cursor<'_>,
    name: Option<Name>,
    errors: &mut Errors,
) -> Option<FunctionDeclaration> {
    let fields = at.fields(&FUNCTION, errors)?;
    let component = fields
        .get("component")
        .and_then(|at| component(at, fields.words("component"), errors));
    let build = fields
        .map("build", errors)
        .and_then(|build| read_build(&build, errors));
    if let Some(at) = fields.get("build")
        && fields.get("component").is_none()
    {
        errors.add(
            &at.spot(),
            "`build` without `component` builds nothing that is deployed",
            "say with `component` which file the build makes",
        );
    }
    let limits = fields
        .map("limits", errors)
        .map(|limits| read_limits(&limits, errors))
        .unwrap_or_default();
    let config = FunctionConfig {
        limits,
        config: config(&fields, errors),
        secrets: list(&fields, "secrets", "[GITHUB_TOKEN]", errors, secret),
        allow_http: list(
            &fields,
            "allow_http",
            "[\"https://api.github.com\"]",
            errors,
            origin,
        ),
    };
    Some(FunctionDeclaration {
        name: name?,
        component,
        build,
        config,
    })
}

fn component(at: &Cursor<'_>, words: Words, errors: &mut Errors) -> Option<ComponentSource> {
    let text = at.filled_text(words, errors)?;
    let Some(hex) = text.strip_prefix("blake3:") else {
        return Some(ComponentSource::Path(text.to_owned()));
    };
    let digest = Digest::from_hex(hex);
    if digest.is_none() {
        errors.add(
            &at.spot(),
            "this is not a digest",
            "write `blake3:` and 64 hexadecimal digits, or a path",
        );
    }
    digest.map(ComponentSource::Digest)
}

fn read_build(fields: &Fields<'_>, errors: &mut Errors) -> Option<Build> {
    let command = fields
        .require("command", errors)
        .and_then(|at| at.filled_text(fields.words("command"), errors));
    let watch = list(fields, "watch", "[src]", errors, |at, words, errors| {
        at.filled_text(words, errors).map(str::to_owned)
    });
    Some(Build {
        command: command?.to_owned(),
        watch,
    })
}

/// The limits. An invalid one is replaced by its default, because the manifest is refused anyway.
fn read_limits(fields: &Fields<'_>, errors: &mut Errors) -> FunctionLimits {
    let mut limits = FunctionLimits::default();
    let mut size = |key: &str, into: &mut u64| {
        *into = fields.size_bytes(key, errors).unwrap_or(*into);
    };
    size("memory", &mut limits.memory_bytes_max);
    size("emit_size", &mut limits.emit_bytes_max);
    size("state_size", &mut limits.state_bytes_max);
    size("output", &mut limits.output_bytes_max);
    let mut time = |key: &str, into: &mut u64| {
        *into = fields.duration_ms(key, errors).unwrap_or(*into);
    };
    time("cpu", &mut limits.cpu_ms_max);
    time("timeout", &mut limits.timeout_ms_max);
    let mut count = |key: &str, into: &mut u32| {
        *into = fields.count(key, errors).unwrap_or(*into);
    };
    count("concurrency", &mut limits.concurrency_max);
    count("emits", &mut limits.emits_max);
    count("state_writes", &mut limits.state_writes_max);
    limits
}

fn config(fields: &Fields<'_>, errors: &mut Errors) -> BTreeMap<String, String> {
    let mut config = BTreeMap::new();
    let Words { what, bytes_max } = fields.words("config");
    let at = fields.get("config");
    let entries = at.and_then(|at| at.entries("`config`", "config: { LABEL: bug }", errors));
    for named in entries.unwrap_or_default() {
        if named.key.is_empty() || named.key.len() > KEY_BYTES_MAX {
            errors.add(
                &named.key_spot,
                format!("a key of `config` must have 1 to {KEY_BYTES_MAX} bytes"),
                "choose another key",
            );
        }
        let value = named.value.text(what, errors);
        if value.is_some_and(|value| value.len() > bytes_max) {
            errors.add(
                &named.value.spot(),
                format!("{what} is longer than {bytes_max} bytes"),
                "put it into the component",
            );
        }
        config.insert(named.key.to_owned(), value.unwrap_or_default().to_owned());
    }
    config
}

fn list(
    fields: &Fields<'_>,
    key: &str,
    example: &str,
    errors: &mut Errors,
    read: fn(&Cursor<'_>, Words, &mut Errors) -> Option<String>,
) -> Vec<String> {
    let words = fields.words(key);
    let items = fields.list(key, example, errors);
    items
        .iter()
        .filter_map(|at| read(at, words, errors))
        .collect()
}

fn secret(at: &Cursor<'_>, words: Words, errors: &mut Errors) -> Option<String> {
    let text = at.filled_text(words, errors)?;
    let good = |(index, byte): (usize, u8)| {
        byte == b'_' || byte.is_ascii_alphabetic() || (index > 0 && byte.is_ascii_digit())
    };
    if text.bytes().enumerate().all(good) {
        return Some(text.to_owned());
    }
    errors.add(
        &at.spot(),
        format!(
            "`{}` is not the name of an environment variable",
            shown(text)
        ),
        "use letters, digits and `_`; never write the secret itself here",
    );
    None
}

/// An origin, in lower case.
fn origin(at: &Cursor<'_>, words: Words, errors: &mut Errors) -> Option<String> {
    let text = at.filled_text(words, errors)?;
    match origin_error(&text.to_ascii_lowercase()) {
        None => Some(text.to_ascii_lowercase()),
        Some(reason) => {
            errors.add(
                &at.spot(),
                format!("`{}` is not an origin: {reason}", shown(text)),
                "write scheme, host and perhaps a port, as in `https://api.github.com`",
            );
            None
        }
    }
}

fn origin_error(text: &str) -> Option<&'static str> {
    let Some((scheme, authority)) = text.split_once("://") else {
        return Some("it has no scheme");
    };
    if scheme != "https" && scheme != "http" {
        return Some("only https and http are known");
    }
    if authority.contains(['/', '?', '#', '\\']) {
        return Some("it has a path behind the host");
    }
    if authority.contains('@') {
        return Some("it has a user");
    }
    if authority.contains('*') {
        return Some("a wildcard would allow more hosts than are named");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, port)) => (host, port),
            None => return Some("the bracket of its address is not closed"),
        },
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let host_good = if authority.starts_with('[') {
        host.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        !host.is_empty() && host.len() <= 253 && host.bytes().all(good)
    };
    let port_good = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| {
            digits.bytes().all(|byte| byte.is_ascii_digit())
                && digits.parse::<u16>().is_ok_and(|port| port > 0)
        });
    match (host_good, port_good) {
        (false, _) => Some("its host is not a name or an address"),
        (_, false) => Some("its port is not a number from 1 to 65535"),
        _ => None,
    }
}

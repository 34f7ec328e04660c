//! URIs (RFC 3986), as far as CloudEvents' `source` and `dataschema` have to be some.
//!
//! Only the form is checked: which characters stand where, and percent-encoding. Never here: what an address
//! leads to, and a normal form.

/// What of a text keeps it from being a URI reference, and how to write that right.
///
/// # Errors
/// The reason, as it follows a name.
pub(crate) fn check_reference(text: &str) -> Result<(), String> {
    let (rest, fragment) = split(text, '#');
    let (rest, query) = split(rest, '?');
    let (scheme, hierarchy) = match rest.split_once(':') {
        Some((scheme, below)) if !scheme.contains('/') => (Some(scheme), below),
        _ => (None, rest),
    };
    if let Some(scheme) = scheme {
        check_scheme(scheme)?;
    }
    let (authority, path) = match hierarchy.strip_prefix("//") {
        Some(below) => {
            let end = below.find('/').unwrap_or(below.len());
            let (authority, path) = below.split_at(end);
            (Some(authority), path)
        }
        None => (None, hierarchy),
    };
    if let Some(authority) = authority {
        check_authority(authority)?;
    }
    check_characters(path, "/:@")?;
    for text in [query, fragment].into_iter().flatten() {
        check_characters(text, "/?:@")?;
    }
    Ok(())
}

/// The same for a URI, which has a scheme.
///
/// # Errors
/// The reason, as it follows a name.
pub(crate) fn check(text: &str) -> Result<(), String> {
    check_reference(text)?;
    match text.split_once(':') {
        Some((scheme, _)) if !scheme.contains(['/', '?', '#']) => Ok(()),
        _ => Err("must be a URI with its scheme, as in https://example.com/order.json".to_owned()),
    }
}

fn split(text: &str, at: char) -> (&str, Option<&str>) {
    match text.split_once(at) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

fn check_scheme(scheme: &str) -> Result<(), String> {
    let mut bytes = scheme.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic());
    if first && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte)) {
        return Ok(());
    }
    let shown: String = scheme
        .chars()
        .take(32)
        .flat_map(char::escape_debug)
        .collect();
    Err(format!(
        "must be a URI reference, and `{shown}` before the colon is no scheme; write ./ before it, or %3A for the colon"
    ))
}

fn check_authority(authority: &str) -> Result<(), String> {
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (user, host),
        None => ("", authority),
    };
    check_characters(user, ":")?;
    let wrong = |what: &str| Err(format!("must be a URI reference, and its {what}"));
    let port = match host.strip_prefix('[') {
        Some(literal) => {
            let Some((address, after)) = literal.split_once(']') else {
                return wrong("`[` has no `]`: write an IPv6 address as in http://[::1]:8080/");
            };
            let future = |address: &str| {
                address.starts_with(['v', 'V']) && check_characters(address, ":").is_ok()
            };
            if address.parse::<std::net::Ipv6Addr>().is_err() && !future(address) {
                return wrong("host in brackets is no IPv6 address: write it as in http://[::1]/");
            }
            match after.strip_prefix(':') {
                Some(port) => port,
                None if after.is_empty() => "",
                None => {
                    return wrong(
                        "host goes on after its `]`: only a port may follow, as in [::1]:8080",
                    );
                }
            }
        }
        None => {
            let (name, port) = match host.split_once(':') {
                Some((name, port)) => (name, port),
                None => (host, ""),
            };
            check_characters(name, "")?;
            port
        }
    };
    match port.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(()),
        false => wrong("port is no number: write it as in http://localhost:8080/"),
    }
}

/// Unreserved characters, sub-delimiters, percent-encoded bytes, and those of `more`.
fn check_characters(text: &str, more: &str) -> Result<(), String> {
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        let plain = character.is_ascii_alphanumeric()
            || "-._~!$&'()*+,;=".contains(character)
            || more.contains(character);
        if plain {
            continue;
        }
        if character == '%' {
            let code = rest.as_str().as_bytes().get(..2);
            if code.is_some_and(|code| code.iter().all(u8::is_ascii_hexdigit)) {
                continue;
            }
            return Err(
                "must be a URI reference, where % takes two hexadecimal digits; write a % itself as %25"
                    .to_owned(),
            );
        }
        let mut utf8 = [0; 4];
        let utf8 = character.encode_utf8(&mut utf8).bytes();
        let encoded: String = utf8.map(|byte| format!("%{byte:02X}")).collect();
        return Err(format!(
            "must be a URI reference, which has no `{}`; write it as {encoded}",
            character.escape_debug()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_by_their_form() {
        for good in [
            "/h",
            "h",
            "",
            "#x",
            "?a=b/c?d",
            "checkout",
            "//audit.example.com/projects/shop/logs/data_access",
            "https://user:pw@example.com:8080/a%20b;c=1?x=y#z",
            "http://[::1]:80/",
            "http://[::1]",
            "http://[v1.a:b]/",
            "http://localhost:",
            "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
            "urn:event:from:myapi/resource/123",
            "mailto:cncf-wg-serverless@lists.cncf.io",
            "1-555-123-4567",
            "arn:aws:s3:::bucket",
            "a/b:c",
            "./1:2",
            "tag:example.com,2026:x",
        ] {
            assert_eq!(check_reference(good), Ok(()), "{good}");
        }
        for (bad, words) in [
            ("my source", "no ` `; write it as %20"),
            ("/küche", "write it as %C3%BC"),
            ("%zz", "% takes two hexadecimal digits"),
            ("a%", "write a % itself as %25"),
            ("a%4", "%25"),
            ("http://[::1", "`[` has no `]`"),
            ("http://[::1]x/", "goes on after its `]`"),
            ("http://[1.2]/", "no IPv6 address"),
            ("http://a:b/", "port is no number"),
            ("http://a b/", "%20"),
            ("a[1]", "write it as %5B"),
            ("a\\b", "%5C"),
            ("<a>", "%3C"),
            ("a|b", "%7C"),
            ("{a}", "%7B"),
            ("a#b#c", "%23"),
            ("1:2", "no scheme; write ./ before it"),
            (":x", "no scheme"),
        ] {
            let told = check_reference(bad).expect_err(bad);
            assert!(told.contains(words), "{bad}: {told}");
        }
    }

    #[test]
    fn a_uri_has_a_scheme() {
        for good in ["https://example.com/s.json", "urn:x:y", "a:"] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["/s", "s", "//a/b", "a/b:c", "?a:b", "not a uri"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}

//! Checks the `Host` and `Origin` of a request before anything else of it is used.
//!
//! The API has no keys, because it listens on loopback only. But a browser on the same machine can reach
//! loopback. If a web page makes its own name resolve to 127.0.0.1 (DNS rebinding), it has the same origin as
//! the API and may send any request. The browser still sends the page's name in `Host` and `Origin`, and such
//! names are refused here. An IP address can't be rebound, so all IP addresses are accepted. Never here: who
//! the client is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::header::{HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::{Uri, Version};

use super::problem::{Cause, Problem};

/// How much of a refused name is shown, in characters.
const SHOWN_CHARS_MAX: usize = 80;

/// Reads a name for the operator's list: a host name without a port, in lower case.
///
/// # Errors
/// What is wrong with it.
pub fn allowed_host(text: &str) -> Result<String, String> {
    match Authority::parse(text) {
        Some(Authority {
            host: Host::Name(name),
            port: None,
        }) => Ok(name.to_ascii_lowercase()),
        Some(Authority {
            host: Host::Address(_),
            ..
        }) => Err("IP addresses are always allowed".to_owned()),
        _ => Err("write a host name alone, as in edge.example.org".to_owned()),
    }
}

/// Refuses a request that is not for this bus, or that a page from elsewhere sent.
///
/// # Errors
/// The host is missing, given twice, malformed or not allowed; the origin is foreign.
pub(super) fn check(
    version: Version,
    uri: &Uri,
    headers: &HeaderMap,
    listed: &[String],
) -> Result<(), Problem> {
    let mut named = headers.get_all(HOST).iter();
    let own = named.next();
    if named.next().is_some() {
        return Err(Problem::input_error(
            "",
            "the request has two Host headers",
            "",
        ));
    }
    if own.is_none() && (version == Version::HTTP_11 || uri.authority().is_none()) {
        // HTTP/1.0 doesn't need it, and no browser uses HTTP/1.0.
        if version != Version::HTTP_10 {
            return Err(Problem::input_error(
                "",
                "the request has no Host header",
                "",
            ));
        }
    }
    let of_target = uri.authority().map(|authority| authority.as_str());
    let own = own.map(text).transpose()?;
    let mut asked = None;
    for given in [own, of_target].into_iter().flatten() {
        let authority = Authority::parse(given).ok_or_else(|| {
            let given = shown(given);
            Problem::input_error("", format!("the host `{given}` can't be read"), "")
        })?;
        if !authority.host.is_allowed(listed) {
            let given = shown(given);
            return Err(Problem::new(
                Cause::HostRefused,
                format!(
                    "`{given}` is not a name of this bus: use an IP address or localhost; if the name is yours, start the bus with --allowed-host and the name"
                ),
            ));
        }
        asked = Some(authority);
    }
    for origin in headers.get_all(ORIGIN) {
        check_origin(origin, asked, listed)?;
    }
    Ok(())
}

/// A page may use the bus that served it. So may pages from the names that the operator listed.
fn check_origin(
    origin: &HeaderValue,
    asked: Option<Authority<'_>>,
    listed: &[String],
) -> Result<(), Problem> {
    let given = origin.to_str().unwrap_or("?");
    let schemes = [("http://", 80), ("https://", 443)];
    let page = schemes.iter().find_map(|(scheme, port)| {
        let (own, rest) = given.split_at_checked(scheme.len())?;
        let authority = Authority::parse(rest)?;
        own.eq_ignore_ascii_case(scheme)
            .then_some((authority, *port))
    });
    let same = page.is_some_and(|(page, port)| {
        let is_asked = asked.is_some_and(|asked| {
            page.host.is_same(asked.host) && page.port.unwrap_or(port) == asked.port.unwrap_or(port)
        });
        is_asked || page.host.is_listed(listed)
    });
    if same {
        return Ok(());
    }
    Err(Problem::new(
        Cause::OriginRefused,
        format!(
            "a page of the origin `{}` may not use this bus: pages of the bus's own address may, and those of names given to --allowed-host",
            shown(given)
        ),
    ))
}

fn text(value: &HeaderValue) -> Result<&str, Problem> {
    value
        .to_str()
        .map_err(|_| Problem::input_error("", "the Host header is not ASCII", ""))
}

fn shown(text: &str) -> String {
    text.chars()
        .take(SHOWN_CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect()
}

/// A host with its port, as `Host` and `Origin` give it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Authority<'a> {
    host: Host<'a>,
    port: Option<u16>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Host<'a> {
    Address(IpAddr),
    /// Without the dot at its end.
    Name(&'a str),
}

impl<'a> Authority<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']')?;
            let address: Ipv6Addr = address.parse().ok()?;
            let port = match rest {
                "" => None,
                rest => port(rest.strip_prefix(':')?)?,
            };
            return Some(Self {
                host: Host::Address(IpAddr::V6(address)),
                port,
            });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, digits)) => (host, port(digits)?),
            None => (text, None),
        };
        let host = match host.parse::<Ipv4Addr>() {
            Ok(address) => Host::Address(IpAddr::V4(address)),
            Err(_) => Host::Name(name(host)?),
        };
        Some(Self { host, port })
    }
}

/// A port; nothing behind the colon is the scheme's own.
fn port(digits: &str) -> Option<Option<u16>> {
    if digits.is_empty() {
        return Some(None);
    }
    let digital = digits.bytes().all(|byte| byte.is_ascii_digit());
    digital.then(|| digits.parse().ok())?.map(Some)
}

fn name(text: &str) -> Option<&str> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (!name.is_empty() && name.bytes().all(known)).then_some(name)
}

impl Host<'_> {
    fn is_allowed(self, listed: &[String]) -> bool {
        matches!(self, Self::Address(_)) || self.is_loopback() || self.is_listed(listed)
    }

    fn is_listed(self, listed: &[String]) -> bool {
        match self {
            Self::Address(_) => false,
            Self::Name(name) => listed.iter().any(|own| own.eq_ignore_ascii_case(name)),
        }
    }

    fn is_loopback(self) -> bool {
        match self {
            Self::Address(address) => address.to_canonical().is_loopback(),
            Self::Name(name) => name.eq_ignore_ascii_case("localhost"),
        }
    }

    /// Whether both name the same machine, as far as the texts show.
    fn is_same(self, other: Host<'_>) -> bool {
        match (self, other) {
            (Self::Name(own), Host::Name(other)) => own.eq_ignore_ascii_case(other),
            (own, other) => own == other || own.is_loopback() && other.is_loopback(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status of a request with these headers; 200 where it is let in.
    fn status(version: Version, target: &str, headers: &[(&str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: hyper::header::HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let listed = ["edge.example.org".to_owned()];
        match check(version, &target.parse().unwrap(), &map, &listed) {
            Ok(()) => 200,
            Err(problem) => problem.status(),
        }
    }

    #[test]
    fn only_addresses_localhost_and_listed_names_are_hosts() {
        for (host, expected) in [
            ("127.0.0.1:7070", 200),
            ("127.0.0.1", 200),
            ("192.0.2.7:80", 200),
            ("[::1]:7070", 200),
            ("[::1]", 200),
            ("localhost:7070", 200),
            ("LocalHost.", 200),
            ("edge.example.org", 200),
            ("EDGE.example.org.:8080", 200),
            ("localhost:", 200),
            ("evil.example", 403),
            ("rebind.evil.example:7070", 403),
            ("localhost.evil.example", 403),
            ("127.0.0.1.evil.example", 403),
            ("x.localhost", 403),
            // What only browsers and libc take for an address; they send it as one.
            ("127.1", 403),
            ("2130706433", 403),
            ("0x7f.0.0.1", 403),
            ("", 400),
            (".", 400),
            (":7070", 400),
            ("user@localhost", 400),
            ("localhost:70700", 400),
            ("localhost:+80", 400),
            ("localhost:7070:7070", 400),
            ("[::1", 400),
            ("[::1]x", 400),
            ("::1", 400),
            ("a b", 400),
            ("localhost/x", 400),
        ] {
            assert_eq!(
                status(Version::HTTP_11, "/livez", &[("host", host)]),
                expected,
                "{host}"
            );
        }
    }

    #[test]
    fn a_host_is_given_once_wherever_it_stands() {
        let one = [("host", "localhost")];
        let two = [("host", "localhost"), ("host", "localhost")];
        let foreign = [("host", "evil.example")];
        let (old, usual, two_zero) = (Version::HTTP_10, Version::HTTP_11, Version::HTTP_2);
        for (version, target, headers, expected) in [
            (old, "/", &[][..], 200),
            (old, "/", &foreign, 403),
            (usual, "/", &[], 400),
            (usual, "/", &two, 400),
            (usual, "http://localhost/", &[], 400),
            (usual, "http://evil.example/", &one, 403),
            (usual, "http://localhost/", &foreign, 403),
            (usual, "http://localhost/", &one, 200),
            (two_zero, "/", &[], 400),
            (two_zero, "/", &one, 200),
            (two_zero, "http://localhost:7070/", &[], 200),
            (two_zero, "http://evil.example/", &[], 403),
            (two_zero, "http://evil.example/", &one, 403),
            (two_zero, "http://localhost/", &foreign, 403),
            (two_zero, "http://localhost/", &two, 400),
        ] {
            assert_eq!(
                status(version, target, headers),
                expected,
                "{version:?} {target} {headers:?}"
            );
        }
    }

    #[test]
    fn only_pages_of_the_bus_itself_and_of_listed_names_are_let_in() {
        for (host, origin, expected) in [
            ("127.0.0.1:7070", "http://127.0.0.1:7070", 200),
            ("127.0.0.1:7070", "http://localhost:7070", 200),
            ("localhost:7070", "http://[::1]:7070", 200),
            ("localhost", "http://localhost", 200),
            ("localhost", "http://localhost:80", 200),
            ("192.0.2.7", "https://192.0.2.7", 200),
            // A proxy that speaks TLS outside and names the bus inside.
            ("127.0.0.1:7070", "https://edge.example.org", 200),
            ("edge.example.org", "https://edge.example.org:8443", 200),
            ("127.0.0.1:7070", "http://127.0.0.1:3000", 403),
            ("127.0.0.1:7070", "http://192.0.2.7:7070", 403),
            ("127.0.0.1:7070", "http://evil.example", 403),
            ("127.0.0.1:7070", "http://evil.example:7070", 403),
            ("127.0.0.1:7070", "null", 403),
            ("127.0.0.1:7070", "", 403),
            ("127.0.0.1:7070", "file://", 403),
            ("127.0.0.1:7070", "chrome-extension://abc", 403),
            ("127.0.0.1:7070", "http://127.0.0.1:7070/x", 403),
            (
                "127.0.0.1:7070",
                "http://127.0.0.1:7070, http://evil.example",
                403,
            ),
        ] {
            let headers = [("host", host), ("origin", origin)];
            assert_eq!(
                status(Version::HTTP_11, "/", &headers),
                expected,
                "{host} {origin}"
            );
        }
        let both = [
            ("host", "localhost"),
            ("origin", "http://localhost"),
            ("origin", "http://evil.example"),
        ];
        assert_eq!(status(Version::HTTP_11, "/", &both), 403);
    }

    #[test]
    fn the_operators_list_holds_names() {
        assert_eq!(
            allowed_host("Edge.example.org").unwrap(),
            "edge.example.org"
        );
        for bad in ["", "127.0.0.1", "[::1]", "a:80", "http://a", "*.a", "a b"] {
            assert!(allowed_host(bad).is_err(), "{bad}");
        }
    }
}

//! Media types, as far as they decide whether rules look into data.

/// True if a `datacontenttype` declares JSON: `*/json` or `*/*+json`, parameters aside.
#[must_use]
pub fn is_json(media_type: &str) -> bool {
    let Some((_, subtype)) = essence(media_type).split_once('/') else {
        return false;
    };
    subtype.eq_ignore_ascii_case("json") || ends_with(subtype, "+json")
}

/// What keeps a text from being a media type (RFC 2046): `type/subtype`, and parameters behind it.
///
/// # Errors
/// The reason, as it follows a name.
pub(crate) fn check(media_type: &str) -> Result<(), String> {
    let wrong = |what: &str| {
        Err(format!(
            "must be a media type, and {what}; write it as in application/json or text/plain; charset=utf-8"
        ))
    };
    let is_token = |text: &str| {
        let sound = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        !text.is_empty() && text.bytes().all(sound)
    };
    let mut rest = media_type;
    let essence = cut_at(&mut rest, b';');
    match essence.trim().split_once('/') {
        Some((family, subtype)) if is_token(family) && is_token(subtype) => {}
        _ => return wrong("this has no type/subtype"),
    }
    while !rest.is_empty() {
        let parameter = cut_at(&mut rest, b';').trim();
        // One that is empty is skipped, as in HTTP.
        if parameter.is_empty() {
            continue;
        }
        let Some((name, value)) = parameter.split_once('=') else {
            return wrong("a parameter has no value");
        };
        let quoted = value.len() > 1 && value.starts_with('"') && value.ends_with('"');
        if !is_token(name) || !(quoted || is_token(value)) {
            return wrong("a parameter is not name=value");
        }
    }
    Ok(())
}

/// Cuts off what is before the next of these bytes outside double quotes, or everything.
fn cut_at<'t>(text: &mut &'t str, end: u8) -> &'t str {
    let (mut quoted, mut escaped) = (false, false);
    let is_end = |byte: u8| {
        let inside = quoted;
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ => {}
        }
        !inside && byte == end
    };
    let whole = *text;
    let (before, after) = match whole.bytes().position(is_end) {
        Some(at) => (&whole[..at], &whole[at + 1..]),
        None => (whole, ""),
    };
    *text = after;
    before
}

/// A media type without its parameters.
pub fn essence(media_type: &str) -> &str {
    media_type
        .split_once(';')
        .map_or(media_type, |(essence, _)| essence)
        .trim()
}

/// True if `text` ends with `end` and is more than that, without regard to case.
pub fn ends_with(text: &str, end: &str) -> bool {
    text.len() > end.len()
        && text.as_bytes()[text.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_told_by_their_form() {
        for good in [
            "application/json",
            "Application/JSON ; charset=utf-8",
            "text/plain;charset=\"utf-8\"",
            "application/json;",
            "multipart/form-data; boundary=\"a;b\\\"=c\"; x=y",
            "image/x+JSON",
            "*/*",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "json",
            "",
            "/json",
            "application/",
            "application json",
            "application/json, text/plain",
            "a/b/c",
            "a/b; charset",
            "a/b; =x",
            "a/b; x=y z",
            "a/b; x=\"y",
            "\u{fc}/\u{fc}",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn json_is_told_by_the_subtype() {
        for yes in [
            "application/json",
            "text/json",
            "Application/JSON ; charset=utf-8",
            "application/vnd.github+json",
            "image/x+JSON",
        ] {
            assert!(is_json(yes), "{yes}");
        }
        for no in [
            "",
            "json",
            "+json",
            "application/+json",
            "application/jsonl",
            "text/plain; a=+json",
            "ü/ü",
        ] {
            assert!(!is_json(no), "{no}");
        }
    }
}

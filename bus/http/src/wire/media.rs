//! Media types of CloudEvents over HTTP; what counts as JSON is the model's word.

use edgebus_model::media_type::{ends_with, essence};

/// True if data of this type reads well as text: `text/*` and XML. All else is Base64 in JSON.
pub(super) fn is_text(media_type: &str) -> bool {
    let Some((family, subtype)) = essence(media_type).split_once('/') else {
        return false;
    };
    family.eq_ignore_ascii_case("text")
        || subtype.eq_ignore_ascii_case("xml")
        || ends_with(subtype, "+xml")
}

/// True if what follows `application/cloudevents` or its `-batch` is `+json`, with no other character
/// set than UTF-8 among its parameters.
pub(super) fn is_json_format(rest: &[u8]) -> bool {
    let Ok(rest) = std::str::from_utf8(rest) else {
        return false;
    };
    let mut parts = rest.split(';');
    if !parts
        .next()
        .is_some_and(|format| format.trim().eq_ignore_ascii_case("+json"))
    {
        return false;
    }
    parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_json_in_utf_8_is_a_known_format() {
        for yes in [
            "+json",
            "+JSON; charset=UTF-8",
            "+json;charset=\"utf-8\"; x=y",
        ] {
            assert!(is_json_format(yes.as_bytes()), "{yes}");
        }
        for no in [
            "",
            ";",
            "+avro",
            "foo+json",
            "+json; charset=latin1",
            "+jsonx",
        ] {
            assert!(!is_json_format(no.as_bytes()), "{no}");
        }
    }
}

//! Media types, as far as they decide whether rules look into data.

/// True if a `datacontenttype` declares JSON: `*/json` or `*/*+json`, parameters aside.
#[must_use]
pub fn is_json(media_type: &str) -> bool {
    let Some((_, subtype)) = essence(media_type).split_once('/') else {
        return false;
    };
    subtype.eq_ignore_ascii_case("json") || ends_with(subtype, "+json")
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

//! JSON text as YAML, members in their order.
//!
//! Whole numbers of 64 bits keep their value; all others go through a double, as YAML's readers do. Texts that
//! YAML 1.1 or 1.2 would read as something else (`no`, `1:20`, `0o7`) are quoted.

use std::fmt::Display;

use serde_transcode::Transcoder;

use super::plain::is_unsafe;
use crate::Failure;

/// One document.
///
/// # Errors
/// The text is not JSON or nested too deeply for YAML.
pub(crate) fn document(json: &str) -> Result<String, Failure> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let text = printed(serde_saphyr::to_string(&Transcoder::new(&mut reader)))?;
    Ok(if is_safe(&text) {
        text
    } else {
        super::json::compact(json) + "\n"
    })
}

/// One entry of a list; entries behind each other are one list.
///
/// # Errors
/// As [`document`].
pub(crate) fn entry(json: &str) -> Result<String, Failure> {
    let mut reader = serde_json::Deserializer::from_str(json);
    let text = printed(serde_saphyr::to_string(&[Transcoder::new(&mut reader)]))?;
    Ok(if is_safe(&text) {
        text
    } else {
        format!("- {}\n", super::json::compact(json))
    })
}

/// Whether the text has nothing that must be escaped. What has is printed as JSON, which YAML reads as it
/// is, because not each of YAML's ways to write a text has escapes.
fn is_safe(text: &str) -> bool {
    !text.chars().any(|own| is_unsafe(own) && own != '\n')
}

fn printed(text: Result<String, impl Display>) -> Result<String, Failure> {
    text.map_err(|error| Failure::new(format!("this can't be shown as YAML: {error}; try -o json")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_values_their_type() {
        let texts = [
            "no",
            "on",
            "Yes",
            "y",
            "n",
            "null",
            "~",
            "true",
            "12",
            "1:20",
            "0x1F",
            "0o17",
            "010",
            "1_000",
            "1e3",
            ".inf",
            "-",
            "- a",
            "a: b",
            "a #b",
            "#",
            "",
            " ",
            " a ",
            "@x",
            "*x",
            "&x",
            "!x",
            "%x",
            "|",
            ">",
            "?",
            "'",
            "\"",
            "{}",
            "[]",
            "2026-07-01",
            "2026-07-01T12:00:00Z",
            "<<",
            "=",
            "line\nline",
            "\n",
            "line\n",
            " line\n  line\n\n",
            "\ttab",
            "a\\b",
        ];
        let quoted = serde_json::to_string(&texts[..]).unwrap();
        let names: Vec<String> = texts
            .iter()
            .map(|text| format!("{}:1", serde_json::json!(text)))
            .collect();
        let whole = [
            u64::MAX.to_string(),
            i64::MIN.to_string(),
            "9007199254740993".to_owned(),
        ]
        .join(",");
        let json = format!(
            r#"{{"b":{quoted},"a":[true,null,-2,1.5,{whole},[[]],[{{}}]],"c":{{{}}},"e":{{}},"l":[]}}"#,
            names.join(",")
        );
        let yaml = document(&json).unwrap();
        assert!(yaml.find("b:") < yaml.find("a:"), "{yaml}");
        let back: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
        let wanted: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(back, wanted, "{yaml}");
        // What other readers take for a boolean or a number is quoted.
        for text in ["no", "on", "1:20", "0o17", "1_000"] {
            assert!(!yaml.contains(&format!("- {text}\n")), "{text}: {yaml}");
        }
        assert!(document("[1").is_err() && document("").is_err());
        assert!(document(&"[".repeat(100_000)).is_err());
    }

    #[test]
    fn what_nobody_sees_is_escaped_and_stays_in_the_data() {
        let json = r#"{"t":"a\u202eb\u200b","e":"\u001b[2J"}"#;
        for (yaml, list) in [
            (document(json).unwrap(), false),
            (entry(json).unwrap(), true),
        ] {
            assert!(is_safe(&yaml), "{yaml:?}");
            let back: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
            let back = if list { back[0].clone() } else { back };
            assert_eq!(back["t"], "a\u{202e}b\u{200b}");
            assert_eq!(back["e"], "\u{1b}[2J");
        }
    }

    #[test]
    fn entries_behind_each_other_are_one_list() {
        let yaml = entry(r#"{"n":1,"in":{"x":2}}"#).unwrap() + &entry(r#"{"n":2}"#).unwrap();
        let back: serde_json::Value = serde_saphyr::from_str(&yaml).unwrap();
        assert_eq!(
            back,
            serde_json::json!([{"n": 1, "in": {"x": 2}}, {"n": 2}])
        );
    }
}

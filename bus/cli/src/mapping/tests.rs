use proptest::prelude::*;

use super::*;

fn template(text: &str) -> Template {
    text.parse().expect("it is a good template")
}

fn github() -> Mapping {
    Mapping {
        kind: template("com.github.{$.event}"),
        source: template("/github/{$.payload.repository.full_name}"),
        id: None,
        subject: None,
        time: None,
        extensions: Vec::new(),
        data: Some("$.payload".parse().expect("it is a good path")),
    }
}

/// What `template` makes of `line`, or why not.
fn rendered(text: &str, line: &str) -> String {
    let template: Template = match text.parse() {
        Ok(template) => template,
        Err(error) => return format!("template: {error}"),
    };
    let mapping = Mapping {
        source: self::template("/s"),
        kind: template,
        data: None,
        ..github()
    };
    match map_line(&mapping, line.as_bytes(), 7) {
        Ok(event) => event.kind,
        Err(input_error) => format!(
            "{:?} {}: {}",
            input_error.place, input_error.pointer, input_error.reason
        ),
    }
}

/// What `path` cuts out of `line`, or why not.
fn cut(path: &str, line: &str) -> String {
    let path: MemberPath = match path.parse() {
        Ok(path) => path,
        Err(error) => return format!("path: {error}"),
    };
    match path.cut(line) {
        Ok(part) => part.to_owned(),
        Err(error) => error.reason,
    }
}

#[test]
fn a_line_becomes_an_event_with_its_own_bytes() {
    let line = br#"{"event":"issues" , "payload": {"n": 1.0e2,"id":12345678901234567890, "repository":{"full_name":"a\/b"}} }"#;
    let event = map_line(&github(), line, 1).expect("it is a good line");
    assert_eq!(event.kind, "com.github.issues");
    assert_eq!(event.source, "/github/a/b");
    assert_eq!(event.data_content_type.as_deref(), Some("application/json"));
    let payload: &[u8] =
        br#"{"n": 1.0e2,"id":12345678901234567890, "repository":{"full_name":"a\/b"}}"#;
    assert_eq!(event.data, Data::Json(Bytes::from_static(payload)));
    let whole = Mapping {
        data: None,
        ..github()
    };
    let event = map_line(&whole, line, 1).expect("it is a good line");
    assert_eq!(event.data_bytes(), line);
}

#[test]
fn a_repeated_input_has_the_same_ids() {
    let line = r#"{"event":"x","payload":{"repository":{"full_name":"r"}}}"#;
    let id = |line: &str| map_line(&github(), line.as_bytes(), 1).expect(line).id;
    assert_eq!(id(line), id(&format!("{line}\n")));
    assert_eq!(id(line), id(&format!("{line}\r\n")));
    assert_ne!(id(line), id(&format!("{line} ")));
    assert_eq!(id(line).len(), 32);
    let second = map_line(&github(), line.as_bytes(), 2).expect(line).id;
    assert_ne!(
        id(line),
        second,
        "equal lines of one input are different events"
    );
    let other = Mapping {
        kind: template("com.example.other"),
        ..github()
    };
    let other = map_line(&other, line.as_bytes(), 1).expect(line).id;
    assert_ne!(id(line), other, "the type is part of the id");
    // Ids are in stored logs: this one never changes.
    assert_eq!(id(line), "14a75cd3e70298edff417c5ef2b253f4");
}

#[test]
fn templates_take_what_the_line_says() {
    let line = r#"{"a":{"b":["x",7,-1.50,true,null,{"c":"d"}]},"id":12345678901234567890,"s p":"q","e":"\u00e4","x":1,"x":2,"f":[{"k":"u","v":"w"}]}"#;
    let table = [
        ("plain", "plain"),
        (
            "{$.a.b[0]}-{$.a.b[1]}/{$.a.b[2]}{$.a.b[3]}",
            "x-7/-1.50true",
        ),
        ("{$.a.b[-1].c}", "d"),
        ("{$['s p']}{$[\"e\"]}", "qä"),
        ("{ $.id }", "12345678901234567890"),
        ("{$.x}", "2"),
        ("{{{$.x}}}", "{2}"),
        ("{$.f[?@.k == 'u'].v}", "w"),
        (
            "{$.f[?@.k == '}'].v}",
            "Some((7, 1)) /type: `$.f[?@.k == '}'].v` selects nothing in this line",
        ),
        (
            "{$.a.b[*]}",
            "Some((7, 1)) /type: `$.a.b[*]` selects 6 values",
        ),
        ("{$.a.b[2:3]}", "-1.50"),
        (
            "{$.none}",
            "Some((7, 1)) /type: `$.none` selects nothing in this line",
        ),
        (
            "{$.a.b[9]}",
            "Some((7, 1)) /type: `$.a.b[9]` selects nothing in this line",
        ),
        (
            "{$.a.b[-9]}",
            "Some((7, 1)) /type: `$.a.b[-9]` selects nothing in this line",
        ),
        (
            "{$.x.y}",
            "Some((7, 1)) /type: `$.x.y` selects nothing in this line",
        ),
        (
            "{$.a}",
            "Some((7, 1)) /type: `$.a` is an object in this line",
        ),
        (
            "{$.a.b}",
            "Some((7, 1)) /type: `$.a.b` is a list in this line",
        ),
        (
            "{$.a.b[4]}",
            "Some((7, 1)) /type: `$.a.b[4]` is null in this line",
        ),
        (
            "{x}",
            "template: `{x}` is not a placeholder; write a placeholder as in `{$.event}`, and the braces themselves as `{{` and `}}`",
        ),
        (
            "{$.x",
            "template: `{$.x` is not a placeholder; write a placeholder as in `{$.event}`, and the braces themselves as `{{` and `}}`",
        ),
        (
            "x}",
            "template: `}` is not a placeholder; write a placeholder as in `{$.event}`, and the braces themselves as `{{` and `}}`",
        ),
        (
            "{$.}",
            "template: `$.` is not a JSONPath query: it ends too early; write a query as in RFC 9535: $.data.labels[?@.name == 'bug']",
        ),
        (
            "{$.detail-type}",
            "template: `$.detail-type` is not a JSONPath query from `-type` on; write a name with such characters in brackets: ['detail-type']",
        ),
        (
            "",
            "Some((7, 1)) /type: attribute `type` is required and must not be empty",
        ),
    ];
    for (template, expected) in table {
        assert_eq!(rendered(template, line), expected, "{template}");
    }
}

#[test]
fn the_data_is_cut_out_and_never_printed_anew() {
    let line = r#" {"a" : {"b":[ 1.0 , {"c":  "\u0041"} ]}, "\u0061\n": [ ] } "#;
    let table = [
        ("$", line.trim()),
        ("$.a", r#"{"b":[ 1.0 , {"c":  "\u0041"} ]}"#),
        ("$.a.b[0]", "1.0"),
        ("$['a']['b'][-1]", r#"{"c":  "\u0041"}"#),
        ("$.a.b[1].c", r#""\u0041""#),
        ("$['a\\n']", "[ ]"),
        ("$.b", "`$.b` selects nothing in this line"),
        ("$.a[0]", "`$.a[0]` selects nothing in this line"),
        (
            "$.a.*",
            "path: `$.a.*` may select more than one value, and the data is one part of the line as it is written; name members and indexes only, as in `$.payload.items[0]`",
        ),
        (
            "a",
            "path: `a` is not a JSONPath query: it doesn't begin with `$`; begin it with `$`, as in `$.payload.action`",
        ),
    ];
    for (path, expected) in table {
        assert_eq!(cut(path, line), expected, "{path}");
    }
}

#[test]
fn a_bad_line_is_told_with_its_number() {
    let large = format!("\"{}\"", "x".repeat(LINE_BYTES_MAX));
    let table: [(&[u8], &str); 6] = [
        (b"", "7:1 : the line is empty"),
        (b"  \n", "7:2 : the line is empty"),
        (
            b"{\"a\":}",
            "7:6 : the line is not JSON: expected value at line 1 column 6",
        ),
        (
            b"{} {}",
            "7:4 : the line is not JSON: trailing characters at line 1 column 4",
        ),
        (
            b"{\"event\":\"x\"}",
            "7:1 /data: `$.payload` selects nothing in this line",
        ),
        (
            large.as_bytes(),
            "7:1 : the line is longer than 1114112 bytes",
        ),
    ];
    for (line, expected) in table {
        let error = map_line(&github(), line, 7).expect_err("it is bad");
        let (line, column) = error.place.unwrap_or_default();
        let told = format!("{line}:{column} {}: {}", error.pointer, error.reason);
        assert_eq!(told, expected);
    }
    let data = format!(
        "{{\"event\":\"x\",\"payload\":{{\"repository\":{{\"full_name\":\"r\"}},\"x\":\"{}\"}}}}",
        "x".repeat(EVENT_BYTES_MAX)
    );
    let error = map_line(&github(), data.as_bytes(), 7).expect_err("it is large");
    assert!(error.reason.contains("larger than"), "{}", error.reason);
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(map_line(&github(), deep.as_bytes(), 7).is_err());
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    for path in ["{$[0]}", "{$..x}"] {
        assert!(
            rendered(path, &deep).contains("64"),
            "{}",
            rendered(path, &deep)
        );
    }
    let beside = format!("{{\"a\":{deep},\"b\":[1]}}");
    assert_eq!(cut("$.b", &beside), "[1]");
}

proptest! {
    #[test]
    fn any_template_and_line_are_taken_or_refused(
        text in "[{}$.\\[\\]'\"?@*:,a0-9=<>!&|() -]{0,24}",
        path in "\\$(\\.[a-c]|\\[-?[0-9]{1,16}\\]|\\[\\*\\]|\\.\\.[a-c]|\\[-?[0-9]?:-?[0-9]{0,15}:?-?[0-9]?\\]|\\[\\?@\\.a [=<>]= [0-9]\\]){0,4}",
        line in prop::sample::select(vec!["{\"a\":[1,{\"b\":\"c\"}]}", "[[1],2]", "null", "{\"a\":{\"a\":{\"a\":1e400}}}"]),
        bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let _ = rendered(&text, line);
        let _ = rendered(&format!("x{{{path}}}"), line);
        let _ = cut(&path, line);
        let _ = map_line(&github(), &bytes, 1);
    }
}

//! Error codes: each is used, has a page, and is shown with its error.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::deliver::{manifest, play};
use crate::support::server::{Home, binary, wait_for};

fn root() -> PathBuf {
    crate::support::root().to_owned()
}

/// The table's rows: the variant and its code.
fn table() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(root().join("bus/model/src/code.rs")).unwrap();
    text.lines()
        .filter_map(|line| {
            let (name, rest) = line.trim().split_once(" = \"EB")?;
            Some((name.to_owned(), format!("EB{}", &rest[..4])))
        })
        .collect()
}

/// Every source of the binary but the table, without tests.
fn sources(folder: &Path, out: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // What only the description names is not used: an example is no error.
        if path.is_dir() && !path.ends_with("openapi") {
            sources(&path, out);
        } else if path.is_dir() {
            // Passed over.
        } else if !["code.rs", "tests.rs"]
            .iter()
            .any(|name| path.ends_with(name))
        {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            out.push_str(text.split("\n#[cfg(test)]\nmod tests {").next().unwrap());
        }
    }
}

#[test]
fn each_code_is_used_and_each_page_has_a_code() {
    let table = table();
    assert!(table.len() > 50, "{table:?}");
    let mut text = String::new();
    sources(&root().join("bus"), &mut text);
    for (name, code) in &table {
        assert!(
            text.contains(&format!("Code::{name}")),
            "{code} ({name}) is used nowhere"
        );
    }
    let codes: BTreeSet<String> = table
        .into_iter()
        .map(|(_, code)| format!("{code}.md"))
        .collect();
    let pages: BTreeSet<String> = std::fs::read_dir(root().join("docs/errors"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(pages, codes);
}

/// What a page or the documentation names as a code must be one.
#[test]
fn documents_name_codes_that_there_are() {
    let codes: BTreeSet<String> = table().into_iter().map(|(_, code)| code).collect();
    let mut files: Vec<PathBuf> = std::fs::read_dir(root().join("docs/errors"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.extend(["README.md", "docs/http-api.md"].map(|name| root().join(name)));
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (at, _) in text.match_indices("EB0") {
            assert!(
                codes.contains(&text[at..at + 6]),
                "{}: {}",
                file.display(),
                &text[at..at + 6]
            );
        }
    }
}

struct Said {
    code: i32,
    out: String,
    err: String,
}

fn run(arguments: &[&str]) -> Said {
    let output = Command::new(binary())
        .args(arguments)
        .env_remove("EDGEBUS_URL")
        .env_remove("EDGEBUS_DATA")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The command ends with this exit code, names the error's code first, and its page last.
fn check(arguments: &[&str], exit: i32, code: &str) {
    let said = run(arguments);
    assert_eq!(
        (said.code, said.out.as_str()),
        (exit, ""),
        "{arguments:?}: {}",
        said.err
    );
    let shown = said
        .err
        .lines()
        .any(|line| line.starts_with(&format!("error[{code}]: ")));
    assert!(shown, "{arguments:?}: {code} is not said: {}", said.err);
    let last = said.err.lines().last().unwrap();
    assert_eq!(
        last,
        format!("see: edgebus explain {code}"),
        "{arguments:?}"
    );
}

#[test]
fn explain_prints_the_page_and_lists_them_all() {
    let page = std::fs::read_to_string(root().join("docs/errors/EB0201.md")).unwrap();
    for spelling in ["EB0201", "eb0201", "0201"] {
        assert_eq!(run(&["explain", spelling]).out, page);
    }
    let list = run(&["explain"]);
    assert_eq!(list.code, 0);
    let file = root().join("tests/formats/errors.txt");
    if std::env::var_os("EDGEBUS_REWRITE_GOLDEN").is_some() {
        std::fs::write(&file, &list.out).unwrap();
    }
    assert_eq!(
        list.out,
        std::fs::read_to_string(&file).unwrap_or_default(),
        "EDGEBUS_REWRITE_GOLDEN=1 rewrites it"
    );
    let none = run(&["explain", "EB9999"]);
    assert_eq!((none.code, none.out.as_str()), (2, ""), "{}", none.err);
    assert!(
        none.err.contains("`edgebus explain` lists all codes"),
        "{}",
        none.err
    );
}

#[test]
fn a_configuration_that_is_wrong_says_its_code() {
    let home = Home::new("version: 1\n");
    let path = |name: &str| home.data().with_file_name(name).display().to_string();
    let write = |name: &str, bytes: &[u8]| std::fs::write(path(name), bytes).unwrap();
    let function =
        |file: &str| format!("version: 1\nfunctions: {{ f: {{ component: {file} }} }}\n");
    write("invalid.yaml", b"version: 1\nbusses: {}\n");
    write("missing.yaml", function("none.wasm").as_bytes());
    write("core.yaml", function("core.wasm").as_bytes());
    write("core.wasm", b"\0asm\x01\0\0\0");
    write("bare.yaml", function("bare.wasm").as_bytes());
    write("bare.wasm", b"\0asm\x0d\0\x01\0");
    write("cut.yaml", function("cut.wasm").as_bytes());
    write("cut.wasm", b"\0asm\x0d\0\x01\0\x07");
    write("huge.yaml", function("huge.wasm").as_bytes());
    std::fs::File::create(path("huge.wasm"))
        .unwrap()
        .set_len((16 << 20) + 1)
        .unwrap();
    write("undeployed.yaml", b"version: 1\nfunctions: { f: {} }\n");
    let serve = |manifest: &str, code: &str| {
        let (data, manifest) = (path("data"), path(manifest));
        let arguments = [
            "serve",
            "--create",
            "--listen",
            "127.0.0.1:0",
            "--data",
            &data,
            "--manifest",
            &manifest,
        ];
        check(&arguments, 78, code);
    };
    serve("invalid.yaml", "EB0101");
    serve("nowhere.yaml", "EB0102");
    serve("missing.yaml", "EB0103");
    serve("core.yaml", "EB0401");
    serve("huge.yaml", "EB0404");
    serve("undeployed.yaml", "EB0104");
    serve("bare.yaml", "EB0402");
    serve("cut.yaml", "EB0403");
    let data = path("data");
    check(
        &["serve", "--data", &data, "--listen", "0.0.0.0:7070"],
        78,
        "EB0105",
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    check(
        &["serve", "--data", &data, "--listen", &address],
        1,
        "EB0106",
    );
}

#[test]
fn a_store_that_can_not_be_opened_says_its_code() {
    let home = Home::new("version: 1\n");
    let folder = home.data();
    let data = folder.display().to_string();
    check(&["fsck", "--data", &data], 1, "EB0201");
    check(
        &["serve", "--listen", "127.0.0.1:0", "--data", &data],
        1,
        "EB0201",
    );
    let file = home.manifest().display().to_string();
    check(&["fsck", "--data", &file], 1, "EB0206");
    let server = home.serve();
    check(&["fsck", "--data", &data], 1, "EB0202");
    assert!(server.stop().success());
    let (store, id) = (folder.join("edgebus.redb"), folder.join("edgebus.id"));
    let aside = folder.join("aside");
    for part in [&store, &id] {
        std::fs::rename(part, &aside).unwrap();
        check(&["fsck", "--data", &data], 1, "EB0204");
        std::fs::rename(&aside, part).unwrap();
    }
    let own = std::fs::read_to_string(&id).unwrap();
    std::fs::write(&id, format!("edgebus store id 1: {}\n", "0".repeat(32))).unwrap();
    check(&["fsck", "--data", &data], 1, "EB0204");
    std::fs::write(&id, own).unwrap();
    std::fs::rename(&store, &aside).unwrap();
    for bytes in [&b""[..], b"not a store's file at all"] {
        std::fs::write(&store, bytes).unwrap();
        check(&["fsck", "--data", &data], 1, "EB0205");
    }
    std::fs::rename(&aside, &store).unwrap();
    assert_eq!(run(&["fsck", "--data", &data]).code, 0);
}

#[test]
fn a_publish_that_fails_says_its_code() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let url = format!("http://{}", server.address);
    let event = ["--type", "t", "--source", "/s"];
    let whole = [&event[..], &["--data", "1"]].concat();
    let publish = |more: &[&str], code: &str| {
        check(&[&["publish", "--url", &url], more].concat(), 1, code);
    };
    publish(&[&whole[..], &["--bus", "nowhere"]].concat(), "EB0304");
    for strange in ["no/where", "no where", "?"] {
        publish(&[&whole[..], &["--bus", strange]].concat(), "EB0301");
    }
    let elsewhere = format!("{url}/elsewhere");
    let there = ["publish", "--url", &elsewhere];
    check(&[&there[..], &whole].concat(), 1, "EB0305");
    publish(&[&event[..], &["--data", "{"]].concat(), "EB0504");
    publish(&[&event[..], &["--data", "@/nowhere"]].concat(), "EB0503");
    publish(&["--file", "/nowhere"], "EB0503");
    let lines = home.data().with_file_name("lines");
    std::fs::write(&lines, "{\"id\":\"x\"}\n").unwrap();
    publish(&["--file", lines.to_str().unwrap()], "EB0504");
    let large = home.data().with_file_name("large.json");
    std::fs::write(&large, format!("\"{}\"", "x".repeat(1 << 20))).unwrap();
    let data = format!("@{}", large.display());
    publish(&[&event[..], &["--data", &data]].concat(), "EB0308");
    check(
        &[&["publish", "--url", "ftp://127.0.0.1:7070"], &whole[..]].concat(),
        1,
        "EB0502",
    );
    server.kill();
    publish(&whole, "EB0501");
}

#[test]
fn an_attempt_that_fails_says_its_code() {
    let home = Home::new(&manifest(
        "memory: 48MiB, cpu: 100ms, timeout: 5s",
        "attempts: 1, max_age: 1h",
    ));
    let server = home.serve();
    // script → the outcome's code, the reason's code
    let table = [
        ("retry no", "EB0411", "EB0421"),
        ("reject no", "EB0412", "EB0412"),
        ("trap now", "EB0413", "EB0421"),
        ("spin", "EB0414", "EB0421"),
        ("hoard", "EB0415", "EB0421"),
        ("flood-emits", "EB0416", "EB0421"),
    ];
    for (index, (script, ..)) in table.iter().enumerate() {
        play(&server, &format!("c{index}"), script);
    }
    server.publish("well", "again", &json!({"do": "ok"}));
    server.settle();
    for (index, (script, outcome, reason)) in table.iter().enumerate() {
        let path = format!("/v1/deliveries/1-{}", index + 1);
        wait_for("the delivery", || {
            server.get(&path).json()["stage"] == "dead"
        });
        let letter = server.get(&path).json();
        assert_eq!(
            letter["attempts"][0]["code"], *outcome,
            "{script}: {letter}"
        );
        assert_eq!(letter["reason_code"], *reason, "{script}: {letter}");
    }
    let well = server
        .get(&format!("/v1/deliveries/1-{}", table.len() + 1))
        .json();
    assert_eq!(
        well["attempts"][0]["code"],
        json!(null),
        "success has no code: {well}"
    );
}

//! The examples do what they say: the command that each one shows is run, and prints what it shows.
//!
//! Their `run` is called in here with the words of that command, so no example has to be built first.

#![allow(
    clippy::panic,
    reason = "a test fails by panicking, with the example's name"
)]
#![allow(dead_code, reason = "an example's `main` only calls its `run`")]

#[path = "../examples/explain.rs"]
mod explain;
#[path = "../examples/live.rs"]
mod live;
#[path = "../examples/route.rs"]
mod route;
#[path = "../examples/transform.rs"]
mod transform;

use std::error::Error;
use std::path::{Path, PathBuf};

type Run = fn(&[String], &[u8], &mut Vec<u8>) -> Result<(), Box<dyn Error>>;

/// A file that a command names from the repository's root, where it is typed.
fn named(path: &str) -> Option<PathBuf> {
    let inside = path.strip_prefix("rules/")?;
    Some(Path::new(env!("CARGO_MANIFEST_DIR")).join(inside))
}

/// What stands in a `console` block of the example's head: the command, and what it prints.
fn shown(name: &str) -> (String, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}.rs"));
    let source = std::fs::read_to_string(path).expect("the example is there");
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    let mut inside = lines
        .map(|line| line.strip_prefix(' ').unwrap_or(line))
        .skip_while(|line| *line != "```console")
        .skip(1)
        .take_while(|line| *line != "```");
    let command = inside.next().and_then(|line| line.strip_prefix("$ "));
    let command = command.unwrap_or_else(|| panic!("{name} shows no command"));
    let printed = inside.map(|line| format!("{line}\n")).collect();
    (command.to_owned(), printed)
}

/// The words of a command, as a shell splits them where only single quotes are used.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in command.chars() {
        match (character, words.last_mut()) {
            ('\'', _) => quoted = !quoted,
            (' ', _) if !quoted => words.push(String::new()),
            (_, Some(word)) => word.push(character),
            (_, None) => {}
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Runs the command that an example shows and holds what it prints to what is shown.
fn check(name: &str, run: Run) {
    let (command, shown) = shown(name);
    let words = words(&command);
    let build = self::words(&format!("cargo run -q -p edgebus-rules --example {name}"));
    assert!(words.starts_with(&build), "{name}: {command}");
    let mut arguments = words[build.len()..].to_vec();
    arguments.retain(|word| word != "--");
    let mut input = Vec::new();
    if let Some(place) = arguments.iter().position(|word| word == "<") {
        let path = named(&arguments[place + 1]).expect("the input is of this package");
        input = std::fs::read(path).expect("the input is there");
        arguments.truncate(place);
    }
    for argument in &mut arguments {
        if let Some(path) = named(argument) {
            *argument = path.display().to_string();
        }
    }
    let mut out = Vec::new();
    run(&arguments, &input, &mut out).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(
        String::from_utf8_lossy(&out),
        shown,
        "{name} prints, and shows"
    );
}

#[test]
fn route_prints_what_it_shows() {
    check("route", |words, input, out| route::run(words, input, out));
}

#[test]
fn explain_prints_what_it_shows() {
    check("explain", |words, input, out| {
        explain::run(words, input, out)
    });
}

#[test]
fn transform_prints_what_it_shows() {
    check("transform", |words, input, out| {
        transform::run(words, input, out)
    });
}

#[test]
fn live_prints_what_it_shows() {
    check("live", |words, input, out| live::run(words, input, out));
}

#[test]
fn every_example_is_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let entries = std::fs::read_dir(folder).expect("there are examples");
    let names = entries.filter_map(|entry| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.strip_suffix(".rs").map(str::to_owned)
    });
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    assert_eq!(names, ["explain", "live", "route", "transform"]);
}

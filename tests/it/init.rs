//! `edgebus init`: what it makes builds and runs outside of this repository, and it overwrites nothing.

use std::path::Path;
use std::process::{Command, Output};

use crate::support::project::{Project, clean};
use crate::support::server::binary;

fn init(folder: &Path, arguments: &[&str]) -> Output {
    clean(Command::new(binary()).arg("init").args(arguments))
        .current_dir(folder)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn it_says_what_it_made_and_what_to_type_next() {
    let home = tempfile::tempdir().unwrap();
    let said = init(home.path(), &["My Shop"]);
    assert!(said.status.success(), "{}", text(&said.stderr));
    let out = text(&said.stdout);
    assert!(out.starts_with("created my-shop in My Shop\n"), "{out}");
    let last = out.lines().last().unwrap();
    assert!(
        last.starts_with("  cd 'My Shop' && ") && last.ends_with("edgebus dev"),
        "{out}"
    );
    let project = home.path().join("My Shop");
    let event = std::fs::read_to_string(project.join("events/hello.json")).unwrap();
    assert!(event.contains("\"/my-shop\""), "{event}");
    let readme = std::fs::read_to_string(project.join("README.md")).unwrap();
    assert!(readme.starts_with("# my-shop\n"), "{readme}");
}

#[test]
fn it_overwrites_nothing_and_leaves_nothing_half_made() {
    let home = tempfile::tempdir().unwrap();
    let own = home.path().join("README.md");
    std::fs::write(&own, "mine").unwrap();
    let said = init(home.path(), &[]);
    assert_eq!(said.status.code(), Some(1));
    assert!(text(&said.stderr).contains("README.md"), "{said:?}");
    assert_eq!(std::fs::read_to_string(&own).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
    for wrong in [["--name", "My Shop"], ["--template", "cobol"]] {
        assert_eq!(init(home.path(), &wrong).status.code(), Some(2));
    }
    // Beside what is not in the way, it is as anywhere.
    std::fs::rename(&own, home.path().join("NOTES.md")).unwrap();
    assert!(init(home.path(), &[".", "--name", "shop"]).status.success());
    // A name alone is a new folder, so that nothing is strewn into this one.
    let said = init(
        home.path(),
        &["--name", "greenhouse", "--template", "sensors"],
    );
    assert!(text(&said.stdout).contains("cd greenhouse && "), "{said:?}");
    assert!(home.path().join("greenhouse/edgebus.yaml").is_file());
    let sdk = home.path().join(".edgebus/sdk/guest-sdk/src/lib.rs");
    std::fs::write(&sdk, "of another version").unwrap();
    let said = init(home.path(), &["--sdk-only"]);
    assert!(said.status.success(), "{}", text(&said.stderr));
    assert_ne!(std::fs::read_to_string(&sdk).unwrap(), "of another version");
    let elsewhere = init(&home.path().join("events"), &["--sdk-only"]);
    assert_eq!(elsewhere.status.code(), Some(1));
}

/// The other template is built and run in `dev.rs`.
#[test]
fn the_sensors_raise_alarms_and_call_for_maintenance() {
    let project = Project::init("sensors");
    project.cargo(&["test", "--quiet"]);
    let mut dev = project.dev(&["--ephemeral"]);
    dev.hears("+ function alarm, + function escalate, + rule alarms, + rule readings");
    let day = project.folder.join("events/day.json");
    dev.publish(&["--file", day.to_str().unwrap()]);
    dev.hears("alarms → escalate → success");
    dev.hears("| INFO kiln: alarm 3 of 3");
    dev.hears("com.example.maintenance.wanted");
    dev.hears("{\"sensor\":\"kiln\",\"alarms\":3}");
    let broken = project.folder.join("events/broken.json");
    dev.publish(&["--file", broken.to_str().unwrap()]);
    dev.hears("nearest: `readings`, data.celsius: wanted a number > -90 and < 400; saw 999.9");
    assert!(dev.stop().success());
}

//! What operators type beside the bus's own nouns: `top`, `doctor`, `completions`, `man`; and what is not removed.

use super::commands::run;
use crate::support::canned::Canned;
use crate::support::server::Home;

#[test]
fn top_shows_rates_by_subscription() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let url = format!("http://{}", server.address);
    let arguments = ["top", "--once", "--every", "0.2", "--url", &url];
    let said = run(&arguments, "").succeeds();
    assert!(said.out.starts_with("accepted 0/s"), "{}", said.out);
    assert!(said.out.contains("no subscription yet"), "{}", said.out);
    let nowhere = ["top", "--url", "http://127.0.0.1:1"];
    run(&nowhere, "").fails(1, &["no bus answers", "--url"]);
    run(&["top", "--every", "0"], "").fails(2, &["0.1 to 3600"]);
}

#[test]
fn the_doctor_names_what_it_looked_at_and_the_remedy() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let listen = server.address.to_string();
    let data = home.data();
    let data = data.to_str().unwrap();
    let said = run(&["doctor", "--data", data, "--listen", &listen], "");
    for words in [
        "toolchain",
        "target",
        "holds a store that a bus has open",
        "MiB free",
        "a flushed write takes",
        "an edgebus",
        "clock",
    ] {
        assert!(said.out.contains(words), "{words}: {}", said.out);
    }
    drop(server);
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let file = home.manifest();
    let wrong = [
        "doctor",
        "--data",
        file.to_str().unwrap(),
        "--listen",
        &taken,
    ];
    let said = run(&wrong, "");
    assert!(said.out.contains("can't be listened on"), "{}", said.out);
    assert!(said.out.contains("→ choose another one"), "{}", said.out);
    assert!(said.out.ends_with("missing\n"), "{}", said.out);
}

#[test]
fn completions_and_manual_know_the_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = run(&["completions", shell], "").succeeds();
        assert!(said.out.contains("publish"), "{shell}");
    }
    run(&["completions", "csh"], "").fails(2, &["possible values"]);
    let said = run(&["man"], "").succeeds();
    assert!(said.out.contains(".SH SUBCOMMANDS"), "{}", said.out);
    let home = Home::new("version: 1\n");
    let pages = home.data();
    run(&["man", "--dir", pages.to_str().unwrap()], "").succeeds();
    assert!(pages.join("edgebus-publish.1").is_file());
    assert!(pages.join("edgebus.1").is_file());
}

#[test]
fn a_function_stays_where_the_bus_does_not_say_what_is_pending() {
    let bus = Canned::new(&[("503 Service Unavailable", "{}")]);
    run(&["functions", "rm", "f", "--yes", "--url", &bus.url()], "").fails(1, &["503"]);
    let requests: Vec<_> = bus.requests.iter().collect();
    assert_eq!(requests.len(), 1, "{requests:?}");
}

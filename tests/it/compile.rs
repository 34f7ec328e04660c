//! Compiling: bounded in time and memory for every component, done once, and no process left afterwards. And
//! the pool of instances in a small address space.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::deliver::{manifest, play};
use crate::support::http::Answer;
use crate::support::server::{Home, Server, binary, wait_for};
use crate::support::{bombs, guests};

fn deploy(server: &Server, name: &str, component: &[u8]) -> Answer {
    let content_type = [("content-type", "application/wasm")];
    server.request(
        "PUT",
        &format!("/v1/functions/{name}"),
        &content_type,
        component,
    )
}

/// The processes that compile for the bus `pid`.
fn compiling(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name();
        let Ok(child) = name.to_string_lossy().parse::<u32>() else {
            continue;
        };
        // A process may end while it is looked at.
        let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit(')')
            .next()
            .and_then(|rest| rest.split_whitespace().nth(1));
        let command = std::fs::read_to_string(format!("/proc/{child}/cmdline")).unwrap_or_default();
        if parent == Some(&pid.to_string()) && command.contains("compile-component") {
            found.push(child);
        }
    }
    found
}

#[test]
fn what_costs_too_much_to_compile_is_refused_while_the_bus_goes_on() {
    let home = Home::new(&manifest("timeout: 5s", "attempts: 1"));
    let mut command = home.command();
    command.args([
        "--compile-seconds",
        "4",
        "--compile-mib",
        "256",
        "--cache-mib",
        "8",
    ]);
    let server = Server::start(&mut command);
    play(&server, "before", "ok");
    server.settle();
    let before = server.resident_bytes();
    let component = guests::component("hostile");
    let longer = "compiling takes longer than 4 s";
    let more = "compiling needs more than 256 MiB";
    // What each needs depends on the machine: it is over one limit or the other.
    for (name, module) in [
        ("tiny-functions", bombs::tiny_functions(999_999)),
        ("nested-loops", bombs::loops(5_000, 1_000, true)),
        ("many-locals", bombs::loops(20_000, 49_000, false)),
    ] {
        let bomb = bombs::with_module(&component, &module);
        let began = Instant::now();
        let served = std::thread::scope(|scope| {
            let deploying = scope.spawn(|| deploy(&server, name, &bomb));
            let mut served = 0;
            while !deploying.is_finished() {
                play(&server, &format!("{name}-{served}"), "ok");
                served += 1;
            }
            let answer = deploying.join().unwrap().expect(400);
            let text = answer.text();
            assert!(text.contains("EB0403"), "{name}: {text}");
            assert!(
                text.contains(longer) || text.contains(more),
                "{name}: {text}"
            );
            served
        });
        assert!(served > 0, "{name}: nothing was published meanwhile");
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{name}: {:?}",
            began.elapsed()
        );
        wait_for("the process that compiles to be gone", || {
            compiling(server.pid()).is_empty()
        });
    }
    server.settle();
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < 48 << 20, "{} MiB stay", grown >> 20);
    assert!(server.stop().success());
}

#[test]
fn code_is_compiled_once_and_its_memory_comes_back() {
    let home = Home::new("version: 1\n");
    let mut command = home.command();
    command.args(["--cache-mib", "8"]);
    let server = Server::start(&mut command);
    let component = bombs::with_module(
        &guests::component("hostile"),
        &bombs::plain_functions(8_000, 40),
    );
    assert!(component.len() > 2 << 20);
    let before = server.resident_bytes();
    // The same one under two names at the same time is compiled once.
    std::thread::scope(|scope| {
        let server = &server;
        let component = &component;
        for name in ["one", "two"] {
            scope.spawn(move || deploy(server, name, component).expect(201));
        }
    });
    let cache = home.data().join("code-cache");
    let files: Vec<_> = std::fs::read_dir(&cache)
        .unwrap()
        .map(|file| file.unwrap())
        .collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let code = files[0].metadata().unwrap().len();
    let grown = server.resident_bytes().saturating_sub(before);
    println!("component {}, code {code}, grown {grown}", component.len());
    // The component's own bytes pass through the store once.
    let allowed = code + 3 * component.len() as u64 + (16 << 20);
    assert!(
        grown < allowed,
        "{} MiB stay of {}",
        grown >> 20,
        allowed >> 20
    );
    assert!(server.stop().success());

    // A start compiles nothing: these limits would not let it.
    home.write_manifest("version: 1\n");
    let mut command = home.command();
    command.args(["--compile-mib", "32", "--compile-seconds", "1"]);
    let began = Instant::now();
    let server = Server::start(&mut command);
    println!("started in {:?}", began.elapsed());
    assert_eq!(server.functions().len(), 2);
    assert!(server.stop().success());

    // What was changed on disk is not run: it is compiled again.
    let path = files[0].path();
    let mut bytes = std::fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let server = home.serve();
    wait_for("the code to be compiled again", || {
        std::fs::read(&path).unwrap()[middle] != bytes[middle]
    });
    assert!(server.stop().success());
}

#[test]
fn what_compiles_ends_with_the_bus() {
    let home = Home::new("version: 1\n");
    let server = home.serve();
    let bomb = bombs::with_module(
        &guests::component("hostile"),
        &bombs::loops(5_000, 1_000, true),
    );
    let pid = server.pid();
    let address = server.address;
    let deploying = std::thread::spawn(move || {
        let headers = [("content-type", "application/wasm")];
        crate::support::http::try_request(address, "PUT", "/v1/functions/f", &headers, &bomb)
    });
    wait_for("the compiler to start", || !compiling(pid).is_empty());
    let children = compiling(pid);
    server.kill();
    wait_for("the compiler to end", || {
        let running = |child: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            // A zombie waits for whoever adopted it.
            !stat.is_empty() && !stat.contains(") Z ")
        };
        !children.iter().any(running)
    });
    assert!(deploying.join().unwrap().is_none());
}

/// The command line behind `ulimit -v`, in GiB.
fn limited(gibibytes: u64, command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited
        .args(["-c", "ulimit -v \"$0\" && exec \"$@\""])
        .arg((gibibytes << 20).to_string())
        .arg(command.get_program())
        .args(command.get_args())
        .env("EDGEBUS_LOG", "warn")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped());
    limited
}

#[test]
fn functions_run_however_few_addresses_there_are() {
    for (gibibytes, told) in [
        (600, "a pool of 64 instances, 4 GiB of addresses for each;"),
        (
            256,
            "a pool of 256 instances, 256 MiB of addresses for each",
        ),
        (40, "a pool of 64 instances, 256 MiB of addresses for each"),
        (4, "512 instances, allocated when they are needed;"),
    ] {
        let mut doctor = Command::new(binary());
        doctor.args(["doctor", "--listen", "127.0.0.1:0"]);
        let output = limited(gibibytes, &doctor).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains(told), "{gibibytes} GiB: {text}");

        let home = Home::new(&manifest("timeout: 5s", "attempts: 1"));
        let server = Server::start(&mut limited(gibibytes, &home.command()));
        for number in 0..20 {
            play(&server, &format!("e{number}"), "log here\nhoard 4\ncount a");
        }
        let position = play(&server, "deep", "recurse");
        server.settle();
        let story = server.get(&format!("/v1/deliveries/1-{position}")).json();
        assert_eq!(story["attempts"][0]["outcome"], "trap", "{story}");
        let dead = server.dead_letters();
        assert_eq!(dead.len(), 1, "{gibibytes} GiB: {dead:?}");
        assert!(server.stop().success(), "{gibibytes} GiB");
    }
}

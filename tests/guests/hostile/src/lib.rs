//! A function that does what its event says, for tests of the sandbox.
//!
//! The data is `{"do": SCRIPT}`; the script's lines are run in order, each a word and its argument. The
//! words of `bus/runtime/src/fake.rs` mean the same here, and there are those that only a real guest can do.

#![forbid(unsafe_code)]

use std::time::Duration;

use edgebus_sdk::{
    Context, Emit, Event, Failure, config, function, log, metrics, replay, secrets, state,
};
use serde::Deserialize;

/// The event's data.
#[derive(Deserialize)]
pub struct Task {
    /// The script.
    #[serde(rename = "do")]
    script: String,
}

#[function]
fn handle(event: Event<Task>, context: Context) -> Result<Vec<Emit>, Failure> {
    let mut emits = Vec::new();
    for line in event.data.script.lines() {
        let (word, argument) = line.split_once(' ').unwrap_or((line, ""));
        obey(word, argument, &context, &mut emits)?;
    }
    Ok(emits)
}

fn obey(
    word: &str,
    argument: &str,
    context: &Context,
    emits: &mut Vec<Emit>,
) -> Result<(), Failure> {
    match word {
        "ok" | "" => {}
        "reject" => return Err(Failure::reject(argument)),
        "retry" => return Err(retry(argument)),
        "until" => {
            let attempt = argument.parse().unwrap_or(0);
            if context.attempt < attempt {
                return Err(Failure::retry(format!("attempt {}", context.attempt)));
            }
        }
        "trap" => fall_over(argument),
        "emit" => emits.push(Emit::new(argument).json(&context.position)?),
        "count" => {
            state::increment(argument, 1);
        }
        "show" => {
            let value = state::get(argument).unwrap_or_default();
            log::info!("{argument} {}", String::from_utf8_lossy(&value));
        }
        "log" => log::info!("{argument}"),
        "print" => println!("{argument}"),
        "print-part" => print!("{argument}"),
        "hang" => std::thread::sleep(Duration::from_secs(3_600)),
        "replay" => match replay::current() {
            Some(own) => log::info!("{} {}", own.name, own.number),
            None => log::info!("live"),
        },
        "config" => log::info!("{:?}", config::get(argument)),
        "secret" => log::info!("{:?}", secrets::get(argument)),
        // Its value never leaves the bus: what a function writes is redacted.
        "secret-bytes" => log::info!(
            "{} bytes",
            secrets::get(argument).map_or(0, |value| value.len())
        ),
        "tick" => metrics::count(argument, 1),
        "took" => took(argument),
        "keys" => log::info!("{}", state::list_keys(argument, None, 10).join(" ")),
        "swap" => {
            let swapped = state::compare_and_set(argument, None, Some(b"1"));
            log::info!("{swapped}");
        }
        _ => return misbehave(word, argument, emits),
    }
    Ok(())
}

fn took(argument: &str) {
    let (name, ms) = argument.split_once(' ').unwrap_or((argument, ""));
    metrics::time(name, Duration::from_millis(ms.parse().unwrap_or(0)));
}

fn retry(argument: &str) -> Failure {
    let (delay, message) = argument.split_once(' ').unwrap_or((argument, ""));
    match delay.parse() {
        Ok(delay) => Failure::retry_after(Duration::from_millis(delay), message),
        Err(_) => Failure::retry(argument),
    }
}

/// Has a name of its own, so that a test can look for it in the backtrace.
#[inline(never)]
fn fall_over(argument: &str) {
    assert!(argument == "never", "the guest fell over: {argument}");
}

fn misbehave(word: &str, argument: &str, emits: &mut Vec<Emit>) -> Result<(), Failure> {
    match word {
        "spin" => spin(),
        "sleep" => std::thread::sleep(Duration::from_millis(argument.parse().unwrap_or(1_000))),
        "nap" => nap_often(argument.parse().unwrap_or(10)),
        "recurse" => {
            std::hint::black_box(recurse(1));
        }
        "hoard" => hoard(argument.parse().unwrap_or(u64::MAX)),
        "flood-output" => loop {
            println!("line after line after line after line after line after line");
        },
        "flood-log" => loop {
            log::warn!("line after line after line after line after line after line");
        },
        "chatter" => chatter(argument.parse().unwrap_or(10)),
        "flood-emits" => emits.resize(100_000, Emit::new("flood")),
        "fat-emit" => emits.push(Emit::new("fat").bytes("text/plain", vec![b'x'; 3 << 20])),
        "flood-state" => {
            for number in 0_u64.. {
                state::set(&format!("flood/{number}"), b"drop");
            }
        }
        "flood-metrics" => {
            for number in 0..argument.parse().unwrap_or(100_000_u64) {
                metrics::count(&format!("flood_{number}"), 1);
            }
        }
        "fat-state" => state::set("fat", &vec![0; 8 << 20]),
        "exit" => std::process::exit(argument.parse().unwrap_or(1)),
        "look-around" => look_around(),
        _ => return Err(Failure::reject(format!("no script has the word `{word}`"))),
    }
    Ok(())
}

#[expect(
    clippy::infinite_loop,
    reason = "that is what it is for; the sandbox ends it"
)]
fn spin() {
    let mut number = 1_u64;
    loop {
        number = std::hint::black_box(number.wrapping_mul(6_364_136_223_846_793_005));
    }
}

/// Sleeps again and again, `count` times 20 ms: much time on the wall, almost none on the processor.
fn nap_often(count: u32) {
    for _ in 0..count {
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[expect(
    unconditional_recursion,
    reason = "that is what it is for; the sandbox ends it"
)]
fn recurse(depth: u64) -> u64 {
    // Little of it lies in memory, so that the call stack ends before the stack in memory does.
    recurse(std::hint::black_box(depth + 1)).wrapping_mul(depth) ^ 7
}

/// Says much, in all three ways.
fn chatter(lines: u64) {
    for number in 0..lines {
        println!("standard output, line {number}");
        eprintln!("standard error, line {number}");
        log::info!("log, line {number}");
    }
}

/// Takes memory, a mebibyte at a time and every page of it touched, until it has `mebibytes`.
fn hoard(mebibytes: u64) {
    let mut kept = Vec::new();
    for number in 0..mebibytes {
        kept.push(vec![1_u8; 1 << 20]);
        if number % 16 == 0 {
            println!("has {number} MiB");
        }
    }
    std::hint::black_box(kept);
}

/// Tries what no guest may: files, environment, sockets.
fn look_around() {
    println!("environment {}", std::env::vars().count());
    println!("arguments {}", std::env::args().count());
    println!("root {:?}", std::fs::read_dir("/").is_ok());
    println!(
        "connect {:?}",
        std::net::TcpStream::connect("127.0.0.1:80").is_ok()
    );
    println!(
        "listen {:?}",
        std::net::TcpListener::bind("127.0.0.1:0").is_ok()
    );
    let mut input = String::new();
    println!(
        "input {:?}",
        std::io::stdin()
            .read_line(&mut input)
            .is_ok_and(|read| read > 0)
    );
}

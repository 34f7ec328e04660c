//! What an idle bus costs.

use std::time::Duration;

use super::server::Server;
use crate::output::bytes;

/// Of one core, what is called none.
const CPU_SHARE_MAX: f64 = 0.001;
/// What it may have in memory.
const MEMORY_BYTES_MAX: u64 = 30 << 20;

/// What was seen.
pub(super) struct Idle {
    took: Duration,
    cpu_seconds: f64,
    wakeups: u64,
    memory_bytes: u64,
}

/// Looks at the bus for so long.
pub(super) async fn measure(server: &Server, warm_up: Duration, each: Duration) -> Idle {
    tokio::time::sleep(warm_up).await;
    let (cpu_ns, wakeups) = (server.threads_cpu_ns(), server.wakeups());
    tokio::time::sleep(each).await;
    Idle {
        took: each,
        cpu_seconds: server.threads_cpu_ns().saturating_sub(cpu_ns) as f64 / 1e9,
        wakeups: server.wakeups().saturating_sub(wakeups),
        memory_bytes: server.resident_bytes(),
    }
}

/// Prints it in words, or as JSON.
pub(super) fn show(seen: &Idle, json: bool) -> String {
    let seconds = seen.took.as_secs_f64();
    let share = seen.cpu_seconds / seconds;
    let (calm, small) = (share < CPU_SHARE_MAX, seen.memory_bytes < MEMORY_BYTES_MAX);
    let wakeups = seen.wakeups as f64 / seconds;
    if json {
        return serde_json::json!({
            "scenario": "idle", "seconds": seconds, "wakeups_per_second": wakeups,
            "measures": {
                "cpu_seconds": { "value": seen.cpu_seconds, "goal": "none", "met": calm },
                "memory_bytes": { "value": seen.memory_bytes, "goal": "< 30 MiB", "met": small },
            },
        })
        .to_string();
    }
    let word = |met: bool| if met { "ok" } else { "missed" };
    format!(
        "a bus with one function and nothing to do, {seconds:.0} s\n  processor  {:>9.1} ms, {:.3} % of a core, woken {wakeups:.1} times a second; goal none: {}\n  memory     {:>12}; goal < 30 MiB: {}",
        seen.cpu_seconds * 1e3,
        share * 100.0,
        word(calm),
        bytes(seen.memory_bytes),
        word(small)
    )
}

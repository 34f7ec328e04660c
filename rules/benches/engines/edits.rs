//! How long one change takes among many rules, while a reader holds the snapshot before it.

use crate::contestants::{index, parse};
use crate::processor_time;
use crate::random::Random;
use crate::scale;
use std::time::Duration;

const EDITS: usize = 6000;
/// Edits before those that are timed.
const WARMING: usize = 30;

fn told(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let at = |part: usize| micros(times[(times.len() - 1) * part / 1000]);
    println!(
        "  {name:<8} median {:>7.1} µs, 99.9 % {:>7.1} µs, max {:>7.1} µs",
        at(500),
        at(999),
        at(1000)
    );
}

/// Prints the times of single edits, the parse of the pattern included, and of the bulk build.
pub(crate) fn report(count: usize) {
    for kind in scale::KINDS.iter().chain(&["but", "alike", "paths"]) {
        let rules = scale::rules(kind, count);
        let start = processor_time();
        let mut index = index(&rules);
        println!(
            "\n{kind}: {count} rules built in {:.2} s; then one at a time:",
            (processor_time() - start).as_secs_f64()
        );
        let mut random = Random::new(3);
        let mut snapshot = index.clone();
        // The first large allocation after a build pays for all small ones that the build gave back.
        for (key, rule) in (0..).zip(rules.iter().take(WARMING)) {
            index.insert(key, &parse(rule));
            snapshot = index.clone();
        }
        let (mut adding, mut changing, mut removing) = (Vec::new(), Vec::new(), Vec::new());
        for edit in 0..EDITS {
            let place = random.below(count);
            let key = place as u32;
            let start = processor_time();
            match edit % 3 {
                0 => {
                    index.remove(&key);
                    removing.push(processor_time() - start);
                    let start = processor_time();
                    index.insert(key, &parse(&rules[place]));
                    adding.push(processor_time() - start);
                }
                1 => {
                    let other = &rules[random.below(count)];
                    let start = processor_time();
                    index.insert(key, &parse(other));
                    changing.push(processor_time() - start);
                }
                _ => {
                    index.insert((count + edit) as u32, &parse(&rules[place]));
                    adding.push(processor_time() - start);
                }
            }
            // The old snapshot goes here, outside the time taken.
            snapshot = index.clone();
        }
        drop(snapshot);
        told("add", adding);
        told("change", changing);
        told("remove", removing);
    }
}

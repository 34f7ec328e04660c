//! The real pipeline under a seed: writer, scheduler, attempts, settlements, timers, recovery and changes of
//! the manifest, in an order that the seed draws, on a clock that stands until nothing is left to do.
//!
//! A run is several lives of a bus on one store: the model, or redb on a disk that can fail. In each, clients
//! publish, repeat, and change the manifest, functions succeed, fail, hang, panic and kill the process, commits are
//! slow or answer "unknown", attempts that were thought dead settle. It ends with a kill, a power cut or a
//! stop. The last life is quiet, and everything must come to its end. The `ledger` notes what those outside
//! of the bus saw, and the `checker` holds it against the store and the promises of the bus.
//!
//! `EDGEBUS_SIMULATION` says how many seeds, `EDGEBUS_SEED` runs one and shows it step by step.
//! Never here: time of the machine, threads, or anything that two runs of one seed could do in two ways.

mod books;
mod checker;
mod clients;
mod functions;
mod ledger;
mod plan;
mod random;
mod run;
#[cfg(test)]
mod tests;
mod world;

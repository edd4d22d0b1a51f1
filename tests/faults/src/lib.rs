//! Live faults: holders lead on real etcd through a proxy that spoils their ways, and a referee compares what they say
//! with what etcd held. Owns the tools and the list of what is done (`docs/faults.md`); the library under test is core's.
//!
//! Everything is judged by `boot_ns`, one clock for all processes of a machine, never by when a busy tester looked.

pub mod elector;
pub mod holder;
pub mod journal;
pub mod neighbours;
pub mod peers;
pub mod proxy;
pub mod referee;
pub mod report;
pub mod rig;
pub mod scenario;
mod starved;
pub mod verdict;

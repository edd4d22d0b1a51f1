//! Our figures, as ratios measured in one run: what the bench programs share and what each section measures.
//! Owns the list of sections; the order of a run is `benches/figures.rs`'s.
//!
//! A figure for itself says what machine it was measured on. A ratio to something bare, measured in the same run, says
//! something of the library; so that is what is printed first.

pub mod abi;
pub mod check;
pub mod crowd;
pub mod elections;
pub mod handover;
pub mod idle;
pub mod layouts;
pub mod meter;
pub mod ours;
pub mod report;
pub mod job;

/// What goes wrong ends the run: a figure is never printed of something that did not work.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

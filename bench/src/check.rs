//! What a check of a term costs: `is_valid` and `is_lost` beside the bare clock that they cannot do without.
//! Owns this one section; it needs a real term, which it campaigns for.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use leadership_core::{CampaignOptions, Client, Leadership, TermHandle};
use nix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

use crate::Result;
use crate::meter::allocations;
use crate::report::{Spread, table};

/// The goal: this factor of the bare clock …
pub const GOAL_FACTOR: f64 = 1.1;
/// … and so many nanoseconds.
pub const GOAL_EXTRA_NS: f64 = 2.0;

/// Long enough that no renewal falls into the measurement: the I/O thread would disturb it and allocate.
const TTL: Duration = Duration::from_secs(3600);

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Interleaved pairs.
    pub rounds: usize,
    /// Calls in each half of a pair.
    pub calls: u32,
}

/// The least that a use of the clock is: the call, and a look at what it wrote.
#[inline]
fn bare() -> bool {
    clock_gettime(ClockId::CLOCK_BOOTTIME).is_ok_and(|now| now.tv_nsec() >= 0)
}

/// Nanoseconds a call. Not inlined, so that every candidate runs in a loop of the same shape.
#[inline(never)]
fn time(calls: u32, call: impl Fn() -> bool) -> f64 {
    let began = Instant::now();
    for _ in 0..calls {
        black_box(call());
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
}

struct Pairs {
    bare: Vec<f64>,
    call: Vec<f64>,
    /// Allocations of the whole process in each half that made the calls.
    allocations: Vec<usize>,
}

fn pairs(size: Size, call: impl Fn() -> bool) -> Pairs {
    let mut pairs = Pairs {
        bare: Vec::with_capacity(size.rounds),
        call: Vec::with_capacity(size.rounds),
        allocations: Vec::with_capacity(size.rounds),
    };
    time(size.calls, &call);
    time(size.calls, bare);
    for round in 0..size.rounds {
        // Which half comes first alternates, so that a drift of the machine's speed favours neither.
        let bare_first = round % 2 == 0;
        if bare_first {
            pairs.bare.push(time(size.calls, bare));
        }
        let before = allocations();
        pairs.call.push(time(size.calls, &call));
        pairs.allocations.push(allocations() - before);
        if !bare_first {
            pairs.bare.push(time(size.calls, bare));
        }
    }
    pairs
}

/// Nanoseconds a call of each of two threads that call at once. What takes a lock, or only writes to shared memory,
/// gets slower by this.
fn two_threads(calls: u32, term: &TermHandle) -> f64 {
    let barrier = Barrier::new(2);
    let run = || {
        barrier.wait();
        time(calls, || term.is_valid())
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(run);
        let mine = run();
        let other = other.join().unwrap_or(f64::NAN);
        (mine + other) / 2.0
    })
}

/// Runs the section on this etcd and prints its table. Returns the raw figures.
///
/// # Errors
/// etcd cannot be reached, or the term was lost meanwhile.
pub async fn section(endpoint: &str, size: Size) -> Result<Vec<Value>> {
    let client = Client::connect([endpoint.to_owned()])?;
    let lead = Leadership::new(&client, "bench/check", "bench")?;
    let term = lead.campaign(CampaignOptions::new("host-a:8080").ttl(TTL)).await?;
    let valid = pairs(size, || term.is_valid());
    let lost = pairs(size, || term.is_lost());
    let check = pairs(size, || lead.check());
    let alone: Vec<f64> = (0..size.rounds / 10).map(|_| time(size.calls, || term.is_valid())).collect();
    let together: Vec<f64> = (0..size.rounds / 10).map(|_| two_threads(size.calls, &term)).collect();
    if !term.is_valid() || term.is_lost() {
        return Err("the term was lost during the measurement: an ended term is cheaper to check".into());
    }
    client.close().await?;

    println!("\n## A check beside a bare `clock_gettime(CLOCK_BOOTTIME)`\n");
    println!(
        "{} interleaved pairs of {} calls each. Goal: the call is within {GOAL_FACTOR} × bare + {GOAL_EXTRA_NS} ns.\n",
        size.rounds, size.calls
    );
    let mut rows = Vec::new();
    let mut raw = Vec::new();
    for (name, pairs) in [("`term.is_valid()`", &valid), ("`term.is_lost()`", &lost), ("`leadership.check()`", &check)] {
        let zip = || pairs.call.iter().zip(&pairs.bare);
        let ratio = Spread::of(zip().map(|(call, bare)| call / bare));
        let extra = Spread::of(zip().map(|(call, bare)| call - bare));
        // How far above 1.1 × bare: the goal is 2 ns.
        let over = Spread::of(zip().map(|(call, bare)| call - GOAL_FACTOR * bare));
        let (call, bare) = (Spread::of(pairs.call.iter().copied()), Spread::of(pairs.bare.iter().copied()));
        let quiet = pairs.allocations.iter().filter(|count| **count == 0).count();
        let fewest = pairs.allocations.iter().min().copied().unwrap_or(usize::MAX);
        // The goal is set for the term; the handle's check, which finds the term first, is shown beside it.
        let verdict = match (name.contains("term"), over.median <= GOAL_EXTRA_NS) {
            (false, _) => "(no goal)",
            (true, true) => "met",
            (true, false) => "missed",
        };
        rows.push(vec![
            name.to_owned(),
            ratio.show(3),
            extra.show(2),
            verdict.to_owned(),
            format!("{fewest} ({quiet} of {} halves without any)", size.rounds),
            call.show(1),
            bare.show(1),
        ]);
        raw.push(json!({
            "section": "check", "call": name, "rounds": size.rounds, "calls": size.calls,
            "ratio": ratio.json(), "extra_ns": extra.json(), "over_factor_ns": over.json(),
            "call_ns": call.json(), "bare_ns": bare.json(),
            "fewest_allocations": fewest, "halves_without_allocation": quiet, "goal": verdict,
        }));
    }
    table(
        &["call", "÷ bare", "− bare, ns", "goal", "allocations in the quietest half", "call, ns", "bare, ns"],
        &rows,
    );
    let (alone, together) = (Spread::of(alone.into_iter()), Spread::of(together.into_iter()));
    println!(
        "\nNo lock: two threads that call `is_valid()` of one term at once take {} ns a call, one alone {} ns ({:.2} ×).",
        together.show(1),
        alone.show(1),
        together.median / alone.median
    );
    raw.push(json!({"section": "check", "call": "two threads", "together_ns": together.json(), "alone_ns": alone.json()}));
    Ok(raw)
}

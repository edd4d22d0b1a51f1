//! The instruments: CPU time and memory of this process, allocations, and etcd's own count of renewals.
//! Owns how a thing is measured; when and around what is the sections'.

use std::alloc::System;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, Stats, StatsAlloc};

use crate::Result;

/// Counts every allocation of the process, ours and those of what we are compared with alike.
#[global_allocator]
pub static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// etcd answers this at once; the bound is for one that is not there.
const METRICS_WITHIN: Duration = Duration::from_secs(5);

/// User and system time of all threads of this process so far, in microseconds.
///
/// # Errors
/// The system refuses to say.
pub fn cpu_us() -> Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let us = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
    Ok(us(usage.user_time()) + us(usage.system_time()))
}

/// Memory that this process has in RAM, in bytes.
///
/// # Errors
/// `/proc` is not readable.
pub fn rss_bytes() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// Allocations made so far by any thread, reallocations included.
pub fn allocations() -> usize {
    let Stats { allocations, reallocations, .. } = ALLOCATOR.stats();
    allocations + reallocations
}

/// Bytes allocated and not freed.
pub fn heap_bytes() -> u64 {
    let stats = ALLOCATOR.stats();
    (stats.bytes_allocated as u64).saturating_sub(stats.bytes_deallocated as u64)
}

/// A member's own metrics: the same count for every client, whatever that client believes.
fn metrics(endpoint: &str) -> Result<String> {
    let mut stream = TcpStream::connect(endpoint)?;
    stream.set_read_timeout(Some(METRICS_WITHIN))?;
    write!(stream, "GET /metrics HTTP/1.0\r\nHost: {endpoint}\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

/// How many renewals this member has answered since it started.
///
/// # Errors
/// The member does not answer, or counts nothing of the kind.
pub fn renewals_answered(endpoint: &str) -> Result<u64> {
    let page = metrics(endpoint)?;
    let line = page
        .lines()
        .find(|line| line.starts_with("grpc_server_msg_sent_total{") && line.contains("\"LeaseKeepAlive\""))
        .ok_or("etcd's metrics do not count keepalives")?;
    let number = line.rsplit(' ').next().ok_or("a metric without a number")?;
    Ok(number.parse::<f64>()? as u64)
}

/// What a member has been asked since it started.
#[derive(Debug, Clone)]
pub struct Requests {
    /// By method: calls, and messages on streams.
    pub by_method: BTreeMap<String, u64>,
    /// All of them.
    pub all: u64,
}

impl Requests {
    /// What was asked since then, by method; nothing of what was not.
    #[must_use]
    pub fn since(&self, before: &Requests) -> BTreeMap<String, u64> {
        let less = |(method, count): (&String, &u64)| {
            (method.clone(), count - before.by_method.get(method).copied().unwrap_or(0))
        };
        self.by_method.iter().map(less).filter(|(_, count)| *count > 0).collect()
    }
}

/// Every request of every client, by this member's own metrics.
///
/// # Errors
/// The member does not answer, or counts nothing of the kind.
pub fn requests(endpoint: &str) -> Result<Requests> {
    let by_method = requests_of(&metrics(endpoint)?);
    if by_method.is_empty() {
        return Err("etcd's metrics do not count requests".into());
    }
    Ok(Requests { all: by_method.values().sum(), by_method })
}

fn requests_of(page: &str) -> BTreeMap<String, u64> {
    let counted = page.lines().filter_map(|line| {
        let labels = line.strip_prefix("grpc_server_msg_received_total{")?;
        let (_, method) = labels.split_once("grpc_method=\"")?;
        let (method, rest) = method.split_once('"')?;
        let count: f64 = rest.rsplit(' ').next()?.parse().ok()?;
        Some((method.to_owned(), count as u64))
    });
    counted.fold(BTreeMap::new(), |mut all, (method, count)| {
        *all.entry(method).or_default() += count;
        all
    })
}

/// A steady window of one client process: CPU and renewals between its beginning and its end.
pub struct Window {
    began: std::time::Instant,
    cpu_us: f64,
    renewals: u64,
    allocations: usize,
}

impl Window {
    /// Begins now.
    ///
    /// # Errors
    /// An instrument fails.
    pub fn begin(endpoint: &str) -> Result<Window> {
        Ok(Window {
            renewals: renewals_answered(endpoint)?,
            began: std::time::Instant::now(),
            allocations: allocations(),
            cpu_us: cpu_us()?,
        })
    }

    /// Ends now: what was used since the beginning, by name.
    ///
    /// # Errors
    /// An instrument fails, or nothing was renewed.
    pub fn end(self, endpoint: &str) -> Result<Value> {
        let cpu_us = cpu_us()? - self.cpu_us;
        let allocations = allocations() - self.allocations;
        let seconds = self.began.elapsed().as_secs_f64();
        let renewals = renewals_answered(endpoint)? - self.renewals;
        if renewals == 0 {
            return Err("nothing was renewed in the window".into());
        }
        Ok(json!({
            "seconds": seconds,
            "cpu_us": cpu_us,
            "renewals": renewals,
            "renewals_per_second": renewals as f64 / seconds,
            "cpu_us_per_renewal": cpu_us / renewals as f64,
            "allocations_per_renewal": allocations as f64 / renewals as f64,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_method_over_all_services() {
        let line = |method: &str, kind: &str, count: u64| {
            format!("grpc_server_msg_received_total{{grpc_method=\"{method}\",grpc_service=\"s\",grpc_type=\"{kind}\"}} {count}\n")
        };
        let page = line("Txn", "unary", 5) + &line("Watch", "bidi_stream", 7) + &line("Txn", "other", 1) + "grpc_server_started_total 9\n";
        let expected = [("Txn".to_owned(), 6), ("Watch".to_owned(), 7)];
        assert_eq!(requests_of(&page), BTreeMap::from(expected.clone()));
        let count = |by_method: BTreeMap<String, u64>| Requests { all: by_method.values().sum(), by_method };
        let (before, after) = (count(BTreeMap::from([("Txn".to_owned(), 6)])), count(BTreeMap::from(expected)));
        assert_eq!(after.since(&before), BTreeMap::from([("Watch".to_owned(), 7)]));
    }
}

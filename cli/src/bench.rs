//! `leadership bench`: what etcd and this library do here, in seconds, as a table.
//! Owns the measuring; the repository's own bench compares with peers, this does not.

use std::time::{Duration, Instant};

use leadership_core::{CampaignOptions, Client, Elector, Leadership, LeadershipOptions, Op};
use rustix::time::{ClockId, clock_gettime};

use crate::args::{Bench, Global};
use crate::connection::{Connection, ready};
use crate::failure::Failure;
use crate::output::{Output, Paint, span};

/// What each part wants of a lease; nothing here may depend on a renewal in time.
const TTL: Duration = Duration::from_secs(10);
/// Who has resigned leaves the key to the other for so long.
const REST: Duration = Duration::from_millis(200);
/// All that is written is under this.
const PREFIX: &str = "leadership-bench";
/// How many leaderships campaign at once.
const AT_ONCE: usize = 32;

pub(crate) async fn run(global: &Global, args: &Bench, output: Output) -> Result<(), Failure> {
    let connection = Connection::of(global)?;
    let client = connection.client()?;
    ready(&client, &connection).await?;
    let bench = Run {
        prefix: format!("{PREFIX}/{}", crate::stand::default_value()),
        client,
        other: connection.client()?,
        each: args.each,
        output,
    };
    if !output.is_json() {
        output.line(&output.paint(connection.settings.endpoints.join(","), &[Paint::Bold]))?;
    }
    bench.check().await?;
    bench.writes().await?;
    bench.elections().await?;
    bench.renewals(args.leaders).await?;
    bench.hand_over().await?;
    bench.clean().await?;
    bench.other.close().await?;
    Ok(bench.client.close().await?)
}

struct Run {
    client: Client,
    /// As another process's.
    other: Client,
    prefix: String,
    each: Duration,
    output: Output,
}

/// Processor time of this process.
fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The `share`th part of the sorted figures, 0.5 for the median.
fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    // In range: a share of a length.
    let at = (last as f64 * share).round() as usize;
    sorted.get(at).copied().unwrap_or_default()
}

fn micros(span: Duration) -> f64 {
    span.as_secs_f64() * 1e6
}

impl Run {
    /// One figure: for people aligned, for programs as one object.
    fn say(&self, name: &str, figure: f64, unit: &str, more: &str) -> Result<(), Failure> {
        if self.output.is_json() {
            let line = serde_json::json!({ "event": "figure", "name": name, "value": figure, "unit": unit, "note": more });
            return Ok(self.output.line(&line.to_string())?);
        }
        let digits = if figure < 100.0 { 2 } else { 0 };
        let shown = self.output.paint(format_args!("{figure:>10.digits$} {unit:<5}"), &[Paint::Cyan]);
        Ok(self.output.line(format!("  {name:<34} {shown} {more}").trim_end())?)
    }

    fn leadership(&self, name: &str) -> Result<Leadership, Failure> {
        let options = LeadershipOptions::default().purpose("leadership bench").takeover_delay(Duration::ZERO);
        Ok(Leadership::with_options(&self.client, format!("{}/{name}", self.prefix), options)?)
    }

    /// One read of the key, as everything below costs at least.
    async fn check(&self) -> Result<(), Failure> {
        let mut reads = Vec::new();
        let until = Instant::now() + self.each / 4;
        while Instant::now() < until {
            let begun = Instant::now();
            self.client.get_leader(format!("{}/none", self.prefix)).await?;
            reads.push(begun.elapsed());
        }
        reads.sort_unstable();
        self.say("a linearizable read, median", micros(quantile(&reads, 0.5)), "µs", &format!("p99 {}", span(quantile(&reads, 0.99))))?;
        let lead = self.leadership("check")?;
        let term = lead.campaign(CampaignOptions::new("bench").ttl(TTL)).await?;
        lead.keep()?;
        let (begun, mut rounds, mut valid) = (Instant::now(), 0_u32, 0_u32);
        while rounds < 5_000_000 && begun.elapsed() < self.each / 4 {
            for _ in 0..10_000 {
                valid += u32::from(std::hint::black_box(&term).is_valid());
            }
            rounds += 10_000;
        }
        let took = begun.elapsed();
        if valid != rounds {
            return Err(Failure::other("the term was lost while it was checked"));
        }
        self.say("check: term.is_valid()", took.as_secs_f64() * 1e9 / f64::from(rounds.max(1)), "ns", "")?;
        Ok(lead.reset().await?)
    }

    async fn writes(&self) -> Result<(), Failure> {
        let lead = self.leadership("writes")?;
        let term = lead.campaign(CampaignOptions::new("bench").ttl(TTL)).await?;
        lead.keep()?;
        let key = format!("{}/written", self.prefix);
        let mut writes = Vec::new();
        let until = Instant::now() + self.each;
        while Instant::now() < until {
            let begun = Instant::now();
            term.put(key.as_str(), "bench").await?;
            writes.push(begun.elapsed());
        }
        writes.sort_unstable();
        self.say("a guarded write, median", micros(quantile(&writes, 0.5)), "µs", &format!("p99 {}", span(quantile(&writes, 0.99))))?;
        term.delete(key.as_str()).await?;
        Ok(lead.reset().await?)
    }

    /// Grant, register, win, resign, revoke, again and again on one key.
    async fn elections(&self) -> Result<(), Failure> {
        let lead = self.leadership("elections")?;
        let (begun, mut won) = (Instant::now(), 0_u32);
        while begun.elapsed() < self.each {
            lead.campaign(CampaignOptions::new("bench").ttl(TTL)).await?;
            lead.reset().await?;
            won += 1;
        }
        self.say("elections on one key", f64::from(won) / begun.elapsed().as_secs_f64(), "/s", "granted, won, resigned")
    }

    async fn renewals(&self, leaders: u32) -> Result<(), Failure> {
        let all: Vec<Leadership> = (0..leaders).map(|number| self.leadership(&format!("held-{number}"))).collect::<Result<_, _>>()?;
        let ttl = Duration::from_secs(5);
        for some in all.chunks(AT_ONCE) {
            let campaigns = some.iter().map(|lead| lead.campaign(CampaignOptions::new("bench").ttl(ttl)));
            for won in futures_util::future::join_all(campaigns).await {
                won?;
            }
            some.iter().try_for_each(Leadership::keep)?;
        }
        let (begun, used) = (Instant::now(), cpu());
        tokio::time::sleep(self.each).await;
        let (took, used) = (begun.elapsed(), cpu().saturating_sub(used));
        let kept = all.iter().filter(|lead| lead.check()).count();
        if kept < all.len() {
            return Err(Failure::other(format!("{} of {} terms were lost", all.len() - kept, all.len())));
        }
        // By design: one each TTL/5 while leading.
        let renewals = f64::from(leaders) * took.as_secs_f64() / (ttl.as_secs_f64() / 5.0);
        let share = used.as_secs_f64() / took.as_secs_f64() * 100.0;
        self.say(
            &format!("holding {leaders} leaderships"),
            micros(used) / renewals,
            "µs",
            &format!("of processor time a renewal; {share:.2} % of a core"),
        )?;
        for some in all.chunks(AT_ONCE) {
            for reset in futures_util::future::join_all(some.iter().map(Leadership::reset)).await {
                reset?;
            }
        }
        Ok(())
    }

    /// Removes the marks of this run: nobody else knows its keys. Only a leader writes, so one is elected for it; the mark
    /// of that election stays, one for all runs.
    async fn clean(&self) -> Result<(), Failure> {
        let elector = Elector::builder(&self.client, PREFIX).value("bench").ttl(TTL).start()?;
        if let Some(term) = elector.next_term().await? {
            term.txn().then([Op::delete_prefix(format!("{}/", self.prefix))]).commit().await?;
        }
        Ok(elector.close().await?)
    }

    /// Two electors, as of two processes: one resigns, until the other leads.
    async fn hand_over(&self) -> Result<(), Failure> {
        let key = format!("{}/handed", self.prefix);
        let start = |client: &Client| Elector::builder(client, key.as_str()).value("bench").ttl(TTL).cool_down(REST).start();
        let (mut one, mut other) = (start(&self.client)?, start(&self.other)?);
        let mut term = one.next_term().await?;
        let mut gaps = Vec::new();
        let until = Instant::now() + self.each;
        while Instant::now() < until || gaps.is_empty() {
            let next = other.next_term();
            tokio::pin!(next);
            // Let it stand for election before it has to win.
            let early = tokio::time::timeout(Duration::from_millis(50), &mut next).await;
            if early.is_ok() {
                return Err(Failure::other("two led at once"));
            }
            let begun = Instant::now();
            drop(term.take());
            term = next.await?;
            gaps.push(begun.elapsed());
            std::mem::swap(&mut one, &mut other);
        }
        gaps.sort_unstable();
        self.say("resign until the next leads, median", micros(quantile(&gaps, 0.5)) / 1e3, "ms", &format!("worst {}", span(quantile(&gaps, 1.0))))?;
        drop(term);
        one.close().await?;
        Ok(other.close().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_sorted_figures() {
        let figures: Vec<_> = (1..=101).map(Duration::from_millis).collect();
        assert_eq!(quantile(&figures, 0.5), Duration::from_millis(51));
        assert_eq!(quantile(&figures, 1.0), Duration::from_millis(101));
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }
}

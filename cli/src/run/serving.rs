//! One term: the command runs under its guardian until it ends or the term does, and nothing of it is left then.
//! Owns what the guardian is told when, and the wrapper's own watch over the guardian.

use std::sync::Arc;
use std::time::Duration;

use leadership_core::{BootTime, Clock, Elector, ElectorEvents, Reason, Term};

use super::arrivals::asks_for_an_end;
use super::link::{News, Order};
use super::outcome::Restart;
use super::ward::Ward;
use super::{Outcome, Wrapper, notify};
use crate::event::Event;
use crate::failure::Failure;
use crate::output::to_stderr;

/// TERM.
const TERM: i32 = 15;
/// How late a guardian may be before the wrapper kills in its place.
const LATE: Duration = Duration::from_millis(50);
/// How often the deadline is published, as a share of the TTL; renewals come four times as rarely.
const PUBLISH: u32 = 20;

/// How one term went.
#[derive(Debug, Default)]
pub(super) struct Served {
    /// The command's end, as a shell counts.
    code: Option<u8>,
    /// The term's, if it was not the command's or the user's doing.
    lost: Option<Reason>,
    /// The signal that asked for an end.
    signal: Option<i32>,
}

impl Served {
    /// What the wrapper ends with; `None`: it contends again.
    pub(super) fn outcome(self, restart: Restart) -> Option<Outcome> {
        match (self.signal, self.lost, self.code) {
            (Some(signal), _, code) => Some(code.map_or(Outcome::Signal(signal), Outcome::Stopped)),
            (None, Some(_), _) if restart == Restart::Always => None,
            (None, Some(reason), _) => Some(Outcome::Lost(reason)),
            (None, None, Some(code)) => match restart {
                Restart::Always => None,
                Restart::OnFailure if code != 0 => None,
                _ => Some(Outcome::Child(code)),
            },
            (None, None, None) if restart == Restart::Always => None,
            (None, None, None) => Some(Outcome::Failed(Failure::other("the guardian died, and what it guarded was killed"))),
        }
    }
}

/// May the group go on under authority for a while, renewed, or is its key in other hands?
fn key_is_gone(reason: Reason) -> bool {
    use Reason::{ClusterChanged, Forked, GuardFailed, KeyDeleted, Overwritten, Revoked};
    matches!(reason, KeyDeleted | Overwritten | Revoked | ClusterChanged | GuardFailed | Forked)
}

impl Wrapper {
    pub(super) async fn serve(&mut self, elector: &Arc<Elector>, events: &mut ElectorEvents, term: Term) -> Result<Served, Failure> {
        self.told(events, true).await;
        let ward = Ward::start(&self.typed, term.deadline(), &self.environment(&term));
        let mut ward = ward.map_err(|error| Failure::other(format!("cannot start the guardian: {error}")))?;
        ward.order(Order::Start {
            margin: self.margins.margin,
            grace: self.margins.grace,
        });
        let clock = Clock::boot();
        let view = term.handle();
        let lost = view.lost();
        tokio::pin!(lost);
        let mut served = Served::default();
        let mut tick = tokio::time::interval((view.ttl() / PUBLISH).max(Duration::from_millis(10)));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut ended, mut publishing) = (None, true);
        // When the wrapper takes the guardian for dead, at the latest, beside the deadline.
        let mut kill_at = BootTime(u64::MAX);
        loop {
            tokio::select! {
                biased;
                news = ward.news() => match news {
                    Some(News::Started(pid)) => {
                        notify::ready("leading");
                        self.say(&Event { pid: Some(pid), ..Event::term("started", &view) });
                    }
                    Some(News::Ending) => log::info!("the guardian ends the command: the deadline has come near"),
                    Some(News::Exited(code)) => {
                        served.code = Some(code);
                        self.say(&Event { code: Some(code), ..Event::term("exited", &view) });
                    }
                    Some(News::Gone) => break,
                    None => {
                        to_stderr("leadership: the guardian died; killing what it guarded");
                        self.collects = true;
                        served.code = None;
                        break;
                    }
                },
                reason = &mut lost, if ended.is_none() => {
                    ended = Some(reason);
                    // What the signal or the command's own end brought about is no loss.
                    served.lost = (served.signal.is_none() && served.code.is_none()).then_some(reason);
                    let now = clock.now();
                    kill_at = match reason {
                        reason if key_is_gone(reason) => {
                            publishing = false;
                            now.after(self.margins.grace)
                        }
                        Reason::Expired | Reason::Suspended => view.deadline().before(self.margins.margin),
                        _ => now.after(self.args.stop_timeout),
                    }.min(kill_at);
                    ward.order(Order::End { signal: TERM, kill_at });
                }
                event = events.next() => self.tell(event),
                number = self.signals.next() => {
                    if !asks_for_an_end(number) {
                        ward.order(Order::Signal(number));
                    } else if served.signal.replace(number).is_some() {
                        ward.order(Order::Kill);
                        kill_at = clock.now();
                    } else {
                        kill_at = clock.now().after(self.args.stop_timeout).min(kill_at);
                        ward.order(Order::End { signal: number, kill_at });
                        // The term is lost by that, and drained until the group is empty.
                        let elector = elector.clone();
                        tokio::spawn(async move { elector.close().await });
                    }
                }
                _ = self.children.recv() => self.collect(Some(ward.guardian())),
                _ = tick.tick() => {
                    let deadline = view.deadline();
                    if publishing && deadline.0 != 0 {
                        ward.publish(deadline);
                    }
                    let last = if publishing { deadline.before(self.margins.margin) } else { kill_at };
                    if clock.now() > last.min(kill_at).after(LATE) {
                        // It should have killed by now: it is stopped, or worse. With it dead its group falls to us.
                        ward.kill_guardian();
                    }
                }
            }
        }
        let checked = self.checked.clone();
        ward.bury(move || *checked.child()).await;
        if let Err(error) = term.resign().await {
            to_stderr(&format!("leadership: {error}"));
        }
        self.told(events, false).await;
        Ok(served)
    }
}

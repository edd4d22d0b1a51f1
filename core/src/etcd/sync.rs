//! Endpoint sync: the endpoints follow etcd's member list. Optional, and never a reason to forget a configured one.
//! Owns what is taken from the list and what is given up; the slots are `members`', the calls `calls`'.

use std::rc::Rc;
use std::time::Duration;

use etcd_client::proto::{PbMemberListRequest, PbMemberListResponse, PbStatusRequest, PbStatusResponse};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::calls::{Ask, Etcd, Failure};
use super::endpoint::{Dialer, Endpoint, address};
use super::wire::{Header, unary};

/// How long an endpoint has to say who it is.
const STATUS_BOUND: Duration = Duration::from_millis(1500);
/// After a fail-over the list is read again, but no sooner than this after the last time: a member may have moved.
const MIN_GAP: Duration = Duration::from_secs(2);

/// A member as etcd lists it.
#[derive(Debug, Clone)]
struct Listed {
    id: u64,
    learner: bool,
    urls: Vec<String>,
}

/// An endpoint as it is now.
#[derive(Debug, Clone)]
struct Seen {
    address: String,
    configured: bool,
    /// The member that answers there.
    answers: Option<u64>,
}

/// What follows from the list.
#[derive(Debug, PartialEq, Eq)]
struct Decision {
    /// Which of the seen are no longer wanted.
    give_up: Vec<usize>,
    /// Members that nobody answers for, and where they may be found.
    find: Vec<(u64, Vec<String>)>,
}

/// Members are told apart by what answers, not by their addresses: a configured name and an advertised IP may be one.
fn decide(listed: &[Listed], seen: &[Seen]) -> Decision {
    // A learner refuses calls; a member that was added but never started has no URL, and no member at all is no list.
    let voters: Vec<_> = listed.iter().filter(|member| !member.learner && !member.urls.is_empty()).collect();
    let mut decision = Decision {
        give_up: Vec::new(),
        find: Vec::new(),
    };
    if voters.is_empty() {
        return decision;
    }
    let mut keep = vec![false; seen.len()];
    for member in voters {
        let addresses: Vec<_> = member.urls.iter().map(|url| address(url)).collect();
        let answering = || (0..).zip(seen).filter(|(_, endpoint)| endpoint.answers == Some(member.id));
        let first = answering().find(|(_, endpoint)| endpoint.configured).or_else(|| answering().next());
        if let Some((index, _)) = first {
            keep.iter_mut().skip(index).take(1).for_each(|keep| *keep = true); // one connection a member
            continue;
        }
        for (keep, endpoint) in keep.iter_mut().zip(seen) {
            *keep |= endpoint.answers.is_none() && addresses.contains(&endpoint.address.as_str()); // it is down
        }
        let known = |url: &String| seen.iter().any(|endpoint| endpoint.address == address(url));
        let urls: Vec<_> = member.urls.iter().filter(|url| !known(url)).cloned().collect();
        if !urls.is_empty() {
            decision.find.push((member.id, urls));
        }
    }
    let unwanted = keep.into_iter().zip(seen).enumerate().filter(|(_, (keep, endpoint))| !keep && !endpoint.configured);
    decision.give_up = unwanted.map(|(index, _)| index).collect();
    decision
}

/// Keeps the endpoints in step with the member list until it is dropped.
pub(crate) async fn keep_in_sync(etcd: Rc<Etcd>, dialer: Dialer, interval: Duration) {
    loop {
        let begun = Instant::now();
        if let Err(failure) = etcd.sync_endpoints(&dialer).await {
            log::debug!("endpoint sync: {}", failure.into_error());
        }
        let spread = interval.mul_f64(0.9 + etcd.random(200) as f64 / 1000.0);
        tokio::select! {
            () = sleep(spread) => {}
            () = async { etcd.failed_over().await; sleep_until(begun + MIN_GAP).await } => {}
        }
    }
}

impl Etcd {
    async fn sync_endpoints(&self, dialer: &Dialer) -> Result<(), Failure> {
        let ask = Ask {
            linearizable: false, // its header has no revision
            ..self.repeatable("list of members", b"")
        };
        // By a quorum's word where etcd can (3.5 on): a member that was removed or cut off has an old list.
        let request = PbMemberListRequest { linearizable: true };
        let list = self.call::<_, PbMemberListResponse>("/etcdserverpb.Cluster/MemberList", &request, ask).await?;
        let listed = list.body.members.into_iter().map(|member| Listed {
            id: member.id,
            learner: member.is_learner,
            urls: member.client_ur_ls.into_iter().filter(|url| dialer.takes(url)).collect(),
        });
        let known = self.members().all();
        let seen = join_all(known.iter().map(|(_, endpoint)| async move {
            let status = self.status(endpoint, STATUS_BOUND).await.ok();
            Seen {
                address: endpoint.name.clone(),
                configured: endpoint.configured,
                answers: status.map(|status| Header::read(status.header.as_ref()).member),
            }
        }));
        let decision = decide(&listed.collect::<Vec<_>>(), &seen.await);
        for (member, urls) in decision.find {
            for url in urls {
                if let Some(endpoint) = self.found(dialer, &url, member, list.header.cluster).await {
                    log::info!("{}: an endpoint of member {member:x} from etcd's list", endpoint.name);
                    self.members().add(endpoint);
                    break;
                }
            }
        }
        for index in decision.give_up {
            if let Some((_, endpoint)) = known.get(index) {
                log::info!("{}: no longer an endpoint, by etcd's list", endpoint.name);
                self.members().give_up(endpoint);
            }
        }
        Ok(())
    }

    /// An advertised address is taken only if that very member of this cluster answers there: members often advertise
    /// what only they can reach, or `localhost`, where anybody may answer.
    async fn found(&self, dialer: &Dialer, url: &str, member: u64, cluster: u64) -> Option<Endpoint> {
        let endpoint = Endpoint::open(dialer.plan(url).ok()?).discovered();
        self.authenticate(&endpoint, STATUS_BOUND).await.ok()?;
        let request = endpoint.request(PbStatusRequest {});
        let status = unary::<_, PbStatusResponse>(endpoint.wire.clone(), "/etcdserverpb.Maintenance/Status", request);
        let status = timeout(STATUS_BOUND, status).await.ok()?.ok()?.into_inner();
        let header = Header::read(status.header.as_ref());
        endpoint.member.set(header.member);
        // Not looked at by `observe`: what a wrong address answers says nothing of our cluster.
        ((header.cluster, header.member) == (cluster, member)).then_some(endpoint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(id: u64, urls: &[&str]) -> Listed {
        Listed {
            id,
            learner: false,
            urls: urls.iter().map(|url| (*url).to_owned()).collect(),
        }
    }

    fn seen(address: &str, configured: bool, answers: Option<u64>) -> Seen {
        Seen {
            address: address.to_owned(),
            configured,
            answers,
        }
    }

    #[test]
    fn a_configured_name_and_an_advertised_address_of_one_member_are_one_endpoint() {
        let decision = decide(&[listed(1, &["http://10.0.0.1:2379"])], &[seen("etcd-0:2379", true, Some(1))]);
        assert_eq!((decision.give_up, decision.find), (vec![], vec![]));
        // The configured one came back while a discovered one stood in for it.
        let both = [seen("10.0.0.1:2379", false, Some(1)), seen("etcd-0:2379", true, Some(1))];
        assert_eq!(decide(&[listed(1, &["http://10.0.0.1:2379"])], &both).give_up, [0]);
    }

    #[test]
    fn a_new_or_moved_member_is_looked_for_and_a_removed_one_given_up_unless_it_was_configured() {
        let now = [listed(1, &["http://a:1"]), listed(2, &["http://b:2", "http://b:3"]), listed(3, &[])];
        let known = [seen("a:1", true, Some(1)), seen("b:1", false, None), seen("c:1", true, None), seen("d:1", false, Some(4))];
        let decision = decide(&now, &known);
        assert_eq!(decision.find, [(2, vec!["http://b:2".to_owned(), "http://b:3".to_owned()])]);
        assert_eq!(decision.give_up, [1, 3], "not c, which was configured");
    }

    #[test]
    fn a_member_that_is_down_is_kept_and_no_list_gives_up_nobody() {
        let down = [seen("a:1", false, None), seen("b:1", false, Some(2))];
        let decision = decide(&[listed(1, &["https://a:1/"]), listed(2, &["https://b:1"])], &down);
        assert_eq!((decision.give_up, decision.find), (vec![], vec![]));
        let learner = Listed {
            learner: true,
            ..listed(2, &["https://b:1"])
        };
        assert_eq!(decide(&[listed(1, &["https://a:1"]), learner], &down).give_up, [1]);
        assert_eq!(decide(&[listed(1, &[])], &down).give_up, [0; 0]);
    }
}

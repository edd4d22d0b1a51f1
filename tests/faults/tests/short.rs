//! The short form of `make faults`: a few leaderships, the faults that hurt others most, on the oldest and newest etcd.
//! Owns what must hold in every run; the figures are the long run's (docs/faults.md).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)] // a test fails by panicking

use std::path::Path;
use std::time::Duration;

use leadership_faults::report::Row;
use leadership_faults::rig::{Circumstances, Group, Rig, Role};
use leadership_faults::scenario::{Expected, Scenario};
use leadership_faults::verdict::{Lost, Verdict};
use leadership_tests::etcd::Version;

const GROUP: Group = Group {
    ttl: Duration::from_secs(5),
    keys: 10,
    clients: 2,
};
/// An election that lost its leader has another within a TTL and this, on a busy machine too.
const LED_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// A quorum that answers again within this costs no term of 5 s.
const ETCD_IS_BACK_WITHIN: Duration = Duration::from_millis(2500);

fn short(version: Version) {
    // The first two move every term to the other holder, so one holder has them all when it is cut off or stopped.
    let scenarios =
        [Scenario::CutOff, Scenario::HolderFrozen, Scenario::Frozen(Role::Leader), Scenario::Deleted];
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let program = Path::new(env!("CARGO_BIN_EXE_leadership-faults"));
        let mut rig = Rig::start(version, program, &[GROUP]).await.unwrap();
        for scenario in scenarios {
            rig.settled().await.unwrap();
            let from = rig.now();
            scenario.play(&mut rig, true).await.unwrap();
            let to = rig.now();
            look_at(scenario, version, &rig.judge(0, from, to), rig.circumstances(0, from, to));
        }
    });
}

fn look_at(scenario: Scenario, version: Version, verdict: &Verdict, around: Circumstances) {
    let mut row = Row {
        told_within: scenario.told_within(),
        ..Row::default()
    };
    let (name, line) = (scenario.name(), row.add(verdict, around));
    eprintln!("{name} on etcd {version}: {line}");
    assert_eq!(row.broken(), "", "{name} on etcd {version}");
    assert_eq!(verdict.held, GROUP.keys, "{name}: each election was led");
    let led_again = verdict.vacancies.iter().copied().max().unwrap_or(0);
    let at_most = u64::try_from((GROUP.ttl + LED_AGAIN_AFTER).as_nanos()).unwrap();
    assert!(led_again < at_most, "{name}: {led_again} ns without a leader");
    if scenario.expected() == Expected::Lost {
        assert_eq!(verdict.lost.len(), GROUP.keys, "{name}: every term was lost");
    }
    // An election of etcd's own takes 1 to 2 s; two in a row may take more than a lease has left.
    if scenario.expected() == Expected::Kept && u128::from(around.silence + around.starved) < ETCD_IS_BACK_WITHIN.as_nanos() {
        assert_eq!(verdict.lost, [], "{name}: no term was lost");
    }
    if scenario == Scenario::CutOff {
        // Not by luck: by more than the safety margin.
        let ahead: Vec<i64> = verdict.lost.iter().filter_map(Lost::ahead).collect();
        assert!(ahead.iter().all(|ns| *ns > 100_000_000), "{name}: ends before its key: {ahead:?}");
    }
}

#[test]
fn case_17_44_45_s1_no_overlap_and_no_claim_of_a_gone_key_on_etcd_3_7() {
    short(Version::V3_7);
}

#[test]
fn case_17_44_45_s1_no_overlap_and_no_claim_of_a_gone_key_on_etcd_3_4() {
    short(Version::V3_4);
}

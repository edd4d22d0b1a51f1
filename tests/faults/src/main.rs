//! `make faults`: the long run, a table and raw lines; and, started by it, the holder. Owns the arguments only.
#![allow(clippy::print_stdout)]

use std::process::ExitCode;
use std::time::Duration;

use leadership_faults::holder::{self, Orders};
use leadership_faults::report::{self, RawFile, Row};
use leadership_faults::rig::{Group, Rig};
use leadership_faults::scenario::Scenario;
use leadership_tests::etcd::Version;

const USAGE: &str = "\
usage: leadership-faults [--etcd 3.4,3.7] [--ttl 5,3,2] [--keys 100] [--clients 1] [--trials 10] [SCENARIO...]
  --ttl: one group of elections each, all at once on the same members; --keys: elections in each group
  without a scenario: all of them";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let done = if arguments.next_if(|first| first == "holder").is_some() {
        Orders::parse(arguments).and_then(|orders| holder::run(&orders))
    } else {
        Plan::parse(arguments).and_then(|plan| plan.run())
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("leadership-faults: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is to be run.
struct Plan {
    versions: Vec<Version>,
    groups: Vec<Group>,
    trials: usize,
    scenarios: Vec<Scenario>,
}

impl Plan {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Plan, String> {
        let (mut versions, mut ttls, mut keys, mut clients, mut trials) = ("3.4,3.7".to_owned(), "5,3,2".to_owned(), 100, 1, 10);
        let mut scenarios = Vec::new();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value\n{USAGE}"));
            let number = |text: String| text.parse::<usize>().map_err(|e| format!("{text}: {e}\n{USAGE}"));
            match argument.as_str() {
                "--etcd" => versions = value()?,
                "--ttl" => ttls = value()?,
                "--keys" => keys = number(value()?)?,
                "--clients" => clients = number(value()?)?,
                "--trials" => trials = number(value()?)?,
                name => scenarios.push(Scenario::named(name).ok_or_else(|| {
                    let all: Vec<String> = Scenario::ALL.into_iter().map(Scenario::name).collect();
                    format!("no scenario {name}\n{USAGE}\nscenarios: {}", all.join(" "))
                })?),
            }
        }
        let version = |name: &str| {
            Version::ALL.into_iter().find(|version| version.minor() == name).ok_or(format!("no etcd {name}\n{USAGE}"))
        };
        let group = |ttl: &str| {
            let seconds = ttl.parse::<u64>().map_err(|e| format!("{ttl}: {e}\n{USAGE}"))?;
            Ok::<_, String>(Group {
                ttl: Duration::from_secs(seconds),
                keys,
                clients,
            })
        };
        Ok(Plan {
            versions: versions.split(',').map(version).collect::<Result<_, _>>()?,
            groups: ttls.split(',').map(group).collect::<Result<_, _>>()?,
            trials,
            scenarios: if scenarios.is_empty() { Scenario::ALL.to_vec() } else { scenarios },
        })
    }

    fn run(&self) -> Result<(), String> {
        let program = std::env::current_exe().map_err(|e| e.to_string())?;
        let mut raw = RawFile::create(&program)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(|e| e.to_string())?;
        let mut rows = Vec::new();
        let mut failed = Vec::new();
        for version in &self.versions {
            for scenario in &self.scenarios {
                eprintln!("{} on etcd {version}, {} trials", scenario.name(), self.trials);
                let mut done = self.rows(*version, *scenario);
                let ran = runtime.block_on(self.play(*version, *scenario, &program, &mut done, &mut raw));
                rows.extend(done);
                if let Err(error) = ran {
                    failed.push(format!("{} on etcd {version}: {error}", scenario.name()));
                }
            }
        }
        report::print(&rows);
        eprintln!("raw lines: {}", raw.path().display());
        failed.extend(rows.iter().map(|row| (row, row.broken())).filter(|(_, broken)| !broken.is_empty()).map(|(row, broken)| {
            format!("{} on etcd {}, TTL {:?}: {broken}", row.scenario, row.etcd, row.ttl)
        }));
        if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
    }

    fn rows(&self, version: Version, scenario: Scenario) -> Vec<Row> {
        let row = |group: &Group| Row {
            scenario: scenario.name(),
            etcd: version.to_string(),
            ttl: group.ttl,
            told_within: scenario.told_within(),
            ..Row::default()
        };
        self.groups.iter().map(row).collect()
    }

    async fn play(
        &self,
        version: Version,
        scenario: Scenario,
        program: &std::path::Path,
        rows: &mut [Row],
        raw: &mut RawFile,
    ) -> Result<(), String> {
        let mut rig = Rig::start(version, program, &self.groups).await?;
        for _ in 0..self.trials {
            rig.settled().await?;
            let from = rig.now();
            let played = scenario.play(&mut rig, false).await;
            let to = rig.now();
            for (group, row) in rows.iter_mut().enumerate() {
                let line = row.add(&rig.judge(group, from, to), rig.circumstances(group, from, to));
                eprintln!("{line}");
                raw.write(&[line])?;
            }
            let said = std::mem::take(&mut *rig.raw.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
            raw.write(&said)?;
            raw.write(&rig.referee.seen().lines(from))?;
            played?;
            rig.mend().await?;
        }
        Ok(())
    }
}

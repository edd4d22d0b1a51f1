//! `make faults` and `make neighbours`: the long runs; and, started by them, those who lead. Owns the arguments only.
#![allow(clippy::print_stdout)]

use std::process::ExitCode;
use std::time::Duration;

use leadership_faults::elector::{self, Candidacy};
use leadership_faults::holder::{self, Orders};
use leadership_faults::neighbours;
use leadership_faults::report::{self, RawFile, Row};
use leadership_faults::rig::{Group, Rig};
use leadership_faults::scenario::Scenario;
use leadership_tests::etcd::Version;

const USAGE: &str = "\
usage: leadership-faults [--etcd 3.4,3.7] [--ttl 5,3,2] [--keys 100] [--clients 1] [--trials 10] [SCENARIO...]
       leadership-faults neighbours [--etcd 3.4,3.7] [--cycles 10]
  --ttl: one group of elections each, all at once on the same members; --keys: elections in each group
  without a scenario: all of them
  neighbours: electors of ours among etcdctl and programs on etcd's Go client; in each cycle everybody leads";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let done = if arguments.next_if(|first| first == "holder").is_some() {
        Orders::parse(arguments).and_then(|orders| holder::run(&orders))
    } else if arguments.next_if(|first| first == "elector").is_some() {
        Candidacy::parse(arguments).and_then(|candidacy| elector::run(&candidacy))
    } else if arguments.next_if(|first| first == "neighbours").is_some() {
        among_neighbours(arguments)
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

fn versions(names: &str) -> Result<Vec<Version>, String> {
    let version = |name: &str| {
        Version::ALL.into_iter().find(|version| version.minor() == name).ok_or(format!("no etcd {name}\n{USAGE}"))
    };
    names.split(',').map(version).collect()
}

/// The long form of `tests/neighbours.rs`.
fn among_neighbours(mut arguments: impl Iterator<Item = String>) -> Result<(), String> {
    let (mut names, mut cycles) = ("3.4,3.7".to_owned(), 10);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().ok_or(format!("{argument} needs a value\n{USAGE}"))?;
        match argument.as_str() {
            "--etcd" => names = value,
            "--cycles" => cycles = value.parse().map_err(|e| format!("{value}: {e}\n{USAGE}"))?,
            other => return Err(format!("no option {other}\n{USAGE}")),
        }
    }
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(|e| e.to_string())?;
    let mut fouls = Vec::new();
    for version in versions(&names)? {
        let found = runtime.block_on(neighbours::play(version, &program, cycles))?;
        println!("etcd {version}, {} changes of leader, load {:.1}", found.turns, report::load());
        found.lines.iter().for_each(|line| println!("  {line}"));
        fouls.extend(found.fouls.into_iter().map(|foul| format!("etcd {version}: {foul}")));
    }
    if fouls.is_empty() { Ok(()) } else { Err(fouls.join("\n")) }
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
        let group = |ttl: &str| {
            let seconds = ttl.parse::<u64>().map_err(|e| format!("{ttl}: {e}\n{USAGE}"))?;
            Ok::<_, String>(Group {
                ttl: Duration::from_secs(seconds),
                keys,
                clients,
            })
        };
        Ok(Plan {
            versions: self::versions(&versions)?,
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

//! The `leadership` command: what is typed at a shell or run by `make demo`.
//! Owns the start, the choice of the command and the exit code; each command is a file of its own.

mod args;
mod bench;
mod config;
mod connection;
mod demo;
mod elect;
mod event;
mod failure;
mod generate;
mod observe;
mod operate;
mod output;
mod run;
mod signals;
mod stand;
mod status;
mod table;
mod test_server;

use std::ffi::OsString;
use std::process::ExitCode;

use args::{Args, Command};
use failure::Failure;
use output::Output;

fn main() -> ExitCode {
    // `run` starts this program again, under other names.
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    if name == run::stage::NAME {
        return run::stage::main(arguments);
    }
    output::log_to_stderr();
    let config::Configured { args, typed } = match config::parse() {
        Ok(configured) => configured, // another usage error has ended by now, with 2
        Err(failure) => return end(Err(failure)),
    };
    if name == run::guardian::NAME
        && let Command::Run(run) = &args.command
    {
        return run::guardian::main(&args.global, run);
    }
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::other(format!("no runtime: {error}")))
        .and_then(|runtime| runtime.block_on(run(args, typed)));
    end(outcome)
}

fn end(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                output::to_stderr(&format!("leadership: {message}"));
            }
            ExitCode::from(failure.code())
        }
    }
}

async fn run(args: Args, typed: Vec<OsString>) -> Result<(), Failure> {
    let output = Output::new(args.global.json);
    match args.command {
        Command::Run(run) => run::run(&args.global, run, typed).await,
        Command::Elect(elect) => elect::run(&args.global, elect, output).await,
        Command::Observe(observe) => observe::run(&args.global, observe, output).await,
        Command::Participants(one) => operate::participants(&args.global, &one.election, output).await,
        Command::Transfer(transfer) => operate::transfer(&args.global, transfer, output).await,
        Command::Depose(depose) => operate::depose(&args.global, &depose.election, depose.wait, output).await,
        Command::Pause(one) => operate::pause(&args.global, &one.election, true, output).await,
        Command::Unpause(one) => operate::pause(&args.global, &one.election, false, output).await,
        Command::Status(status) => status::run(&args.global, &status, &output).await,
        Command::Bench(bench) => bench::run(&args.global, &bench, output).await,
        Command::Completions(completions) => generate::completions(&completions),
        Command::Man(man) => generate::man(&man, output),
        Command::TestServer(server) => test_server::run(&server, &output).await,
        Command::Demo(_) => demo::run(&args.global).await,
    }
}

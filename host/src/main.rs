//! The program `quipu`.

use clap::Parser;

#[derive(Parser)]
enum Cli {
    Bench(quipu::bench::Options),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Cli::Bench(options) = Cli::parse();
    let report = quipu::bench::run(&options, |what| eprintln!("{what}")).await?;
    println!("{report}");
    Ok(())
}

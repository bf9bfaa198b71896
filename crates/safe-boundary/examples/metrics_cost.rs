//! What counting costs a thread that relays, alone and while another one scrapes without a pause.
//!
//! `cargo run --release --example metrics_cost`; the calls are those that the relay makes for one statement.

use std::hint::black_box;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use domain::audit::id::IdSource;
use safe_boundary::metrics::{Listener, METRICS, Readiness};
use safe_boundary::proxy::relay::Drain;
use safe_boundary::trail::journal::{Journal, Options};
use tokio::net::TcpListener;
use tokio::sync::watch;

const STATEMENTS: usize = 200_000;
const ROUNDS: usize = 25;

fn main() -> anyhow::Result<()> {
    let address = serve()?;
    report("alone", count());
    let is_over = AtomicBool::new(false);
    let scrapes = std::thread::scope(|scope| {
        let scraping = scope.spawn(|| {
            let mut times = Vec::new();
            while !is_over.load(Relaxed) {
                times.push(scrape(address)?);
            }
            anyhow::Ok(times)
        });
        report("beside scrapes", count());
        is_over.store(true, Relaxed);
        scraping.join().map_err(|_| anyhow::anyhow!("the scraper panicked"))?
    })?;
    println!("{} scrapes meanwhile, {:.2} ms the median one", scrapes.len(), median(scrapes) * 1e3);
    Ok(())
}

/// The port, on a thread of its own.
fn serve() -> anyhow::Result<SocketAddr> {
    let folder = tempfile::tempdir()?;
    let (journal, _) = Journal::open(folder.path(), Options::new("cost".to_owned()), IdSource::new([1; 6]))?;
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (_drain, drain) = watch::channel(Drain::No);
        let _folder = folder;
        runtime.block_on(async move {
            let socket = TcpListener::from_std(listener)?;
            Listener { socket, readiness: Readiness { journal, drain } }.serve().await;
            anyhow::Ok(())
        })
    });
    Ok(address)
}

/// The time of one statement's counting in each round, in seconds.
fn count() -> Vec<f64> {
    let round = |_| {
        let begun = Instant::now();
        for bytes in 0..STATEMENTS {
            METRICS.relay().recorded(1);
            METRICS.relay().up(black_box(bytes & 0xff));
            METRICS.relay().down(black_box(bytes & 0xff));
        }
        begun.elapsed().as_secs_f64() / Duration::from_secs(STATEMENTS as u64).as_secs_f64()
    };
    (0..ROUNDS).map(round).collect()
}

fn report(when: &str, times: Vec<f64>) {
    println!("{when}: {:.1} ns a statement, the median of {ROUNDS} rounds", median(times) * 1e9);
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn scrape(address: SocketAddr) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    anyhow::ensure!(page.starts_with("HTTP/1.1 200"), "the scrape failed: {page}");
    Ok(begun.elapsed().as_secs_f64())
}

use leadership_core::*;
use std::time::{Duration, Instant};
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let client = Client::connect([std::env::args().nth(1).unwrap_or("127.0.0.1:2379".into())])?;
    client.ready(Duration::from_secs(3)).await?;
    let lead = Leadership::new(&client, "smoke/leader", "smoke")?;
    let t = Instant::now();
    let term = lead.campaign(CampaignOptions::new("a").ttl(Duration::from_secs(2))).await?;
    println!("won in {:?} {term:?} remaining {:?}", t.elapsed(), term.remaining());
    lead.keep()?;
    let other = Leadership::new(&client, "smoke/leader", "smoke2")?;
    println!("{:?}", other.campaign(CampaignOptions::new("b")).await);
    for _ in 0..5 { tokio::time::sleep(Duration::from_millis(900)).await; println!("valid {} remaining {:?}", term.is_valid(), term.remaining()); }
    println!("{:?}", term.txn().then([Op::put("x", "1")]).commit().await);
    println!("{:?}", client.get_leader("smoke/leader").await?);
    let o = tokio::spawn({ let client=client.clone(); async move { let r = other.watch(0).await; let t=Instant::now(); let r2 = other.campaign(CampaignOptions::new("b")).await; println!("watch {r:?}, then {r2:?} in {:?}", t.elapsed()); drop(client); other } });
    tokio::time::sleep(Duration::from_millis(300)).await;
    println!("reset {:?}", lead.reset().await);
    let other = o.await.unwrap();
    println!("{:?}", term.txn().then([Op::put("x", "1")]).commit().await);
    println!("{:?}", other.check());
    client.close().await
}

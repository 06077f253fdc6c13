//! A backlog, put straight into the ledger: all requests have one body.

use bytes::Bytes;
use smoother::clock::Timestamp;
use smoother::pipeline::lifecycle;
use smoother::pipeline::rank::Ranker;
use smoother::ports::{Inserted, Ledger, Payloads, PutKind};
use smoother::request::{
    Estimate, Lane, Metadata, ModelId, Operation, PayloadRef, Priority, Request, RequestId, Tenant,
};

/// Whose.
pub const TENANTS: [&str; 4] = ["anna", "bert", "carl", "dora"];
/// Inserted together.
const CHUNK: usize = 5_000;

/// Makes requests, one after the other.
pub struct Seeder {
    model: ModelId,
    body: PayloadRef,
    ranker: Ranker,
    next: usize,
}

impl Seeder {
    /// Stores the body.
    pub async fn new(payloads: &dyn Payloads, model: &str) -> Self {
        let body =
            r#"{"messages":[{"role":"user","content":[{"text":"Say hello."}]}],"inferenceConfig":{"maxTokens":50}}"#;
        let id = RequestId::new("seed").unwrap();
        let body = payloads.put(PutKind::Request, &id, "0", Bytes::from_static(body.as_bytes())).await.unwrap();
        Self { model: ModelId::new(model).unwrap(), body, ranker: Ranker::default(), next: 0 }
    }

    /// The next one: of one tenant after the other, of priorities 1 to 9.
    fn request(&mut self, now: Timestamp) -> Request {
        let index = self.next;
        self.next += 1;
        let priority = Priority::from_number(1 + index as u64 % 9).unwrap();
        Request {
            id: RequestId::new(format!("seed-{index:07}")).unwrap(),
            content_hash: format!("{index:064x}"),
            message_id: format!("00000000-0000-0000-0000-{index:012}"),
            lane: Lane::new("default", "us-east-1", &self.model),
            model_id: self.model.clone(),
            downgraded_from: None,
            batch_id: None,
            trace: None,
            use_case: None,
            tenant: Tenant::new(TENANTS[index % TENANTS.len()]).unwrap(),
            priority,
            deadline: None,
            metadata: Metadata::new(),
            operation: Operation::Converse,
            body: self.body.clone(),
            estimate: Estimate { input_tokens: 20, max_output_tokens: 50 },
            rank: self.ranker.rank(priority, None, std::time::Duration::from_secs(5), now),
            received_at: now,
        }
    }

    /// Puts so many more into line.
    pub async fn seed(&mut self, ledger: &dyn Ledger, count: usize, now: Timestamp) {
        let mut left = count;
        while left > 0 {
            let chunk = left.min(CHUNK);
            let rows = (0..chunk).map(|_| lifecycle::admit(self.request(now))).collect();
            for inserted in ledger.insert(rows).await {
                assert!(matches!(inserted, Ok(Inserted::New)), "{inserted:?}");
            }
            left -= chunk;
        }
    }
}

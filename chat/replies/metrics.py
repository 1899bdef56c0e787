"""What one worker process has done, for Prometheus."""

from prometheus_client import Counter, Gauge

from core.metrics import STATEMENTS

REPLIES = Counter("chatire_replies", "Replies that ended here, by how.", ["status"])
ACTIVE = Gauge("chatire_replies_active", "Replies being written here now.")
MODEL_RETRIES = Counter("chatire_model_retries", "Requests to a model made again.", ["code"])
TOKENS = Counter("chatire_reply_pieces", "Pieces of text or reasoning read from models.")
DELTAS = Counter("chatire_reply_deltas", "Deltas stored and published.")
DELTA_BYTES = Counter("chatire_reply_delta_bytes", "Bytes of the frames that carried them.")
CHUNK_BYTES = Counter("chatire_reply_chunk_bytes", "Bytes of text and reasoning stored in chunks.")
# Those that stored the deltas of all replies, and those that only looked for stops and fences.
FLUSHES = STATEMENTS.labels("flush")
CHECKS = STATEMENTS.labels("check")
REBASES = Counter("chatire_flush_rebases", "Times all chunks were written anew after an outage.")
LOST_PUBLICATIONS = Counter("chatire_lost_publications", "Batches of deltas not published.")
FENCED = Counter("chatire_replies_fenced", "Replies given up because another worker took them.")
HANDED_BACK = Counter("chatire_replies_handed_back", "Replies given back when stopping.")
TAKEOVERS = Counter("chatire_jobs_taken_over", "Jobs of lost workers given to the queue again.")
REVIVED = Counter("chatire_replies_revived", "Replies without a job given one again.")

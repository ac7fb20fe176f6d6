"""Run by an interpreter that has llama-cpp-python: greedy continuations and token ids, by llama.cpp.

Reads {"model", "prompts": [[id, …], …], "texts", "count"} from standard input; writes {"answers", "tokens"}.
"""

import json
import sys

from llama_cpp import Llama  # type: ignore[import-not-found]  # in an environment of its own

asked = json.load(sys.stdin)
model = Llama(asked["model"], n_ctx=1024, n_threads=1, n_batch=512, verbose=False)
answers = []
for prompt in asked["prompts"]:
    model.reset()
    answer = []
    for token in model.generate(prompt, temp=0.0, top_k=1, repeat_penalty=1.0):
        answer.append(token)
        if len(answer) == asked["count"]:
            break
    answers.append(answer)
tokens = [model.tokenize(text.encode(), add_bos=False, special=True) for text in asked["texts"]]
json.dump({"answers": answers, "tokens": tokens}, sys.stdout)

"""Chat templates shaped like those that people's files have, each in our own words."""

from __future__ import annotations

CHATML = (
    "{%- if messages[0].role == 'system' %}\n"
    "    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}\n"
    "{%- else %}\n"
    "    {{- '<|im_start|>system\\nYou help.<|im_end|>\\n' }}\n"
    "{%- endif %}\n"
    "{%- for message in messages if message.role != 'system' %}\n"
    "    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- '<|im_start|>assistant\\n' }}\n"
)
THINKING = (
    CHATML
    + "    {%- if enable_thinking is defined and enable_thinking is false %}\n"
    + "        {{- '<think>\\n\\n</think>\\n\\n' }}\n    {%- endif %}\n{%- endif %}\n"
)
ALWAYS_THINKING = CHATML + "    {{- '<think>\\n' }}\n{%- endif %}\n"
CHATML += "{%- endif %}\n"
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('no system role here') }}{% endif %}"
    "{% for message in messages %}"
    "{{ '<start_of_turn>' + message['role'] + '\\n' + message['content'] | trim }}"
    "{{ '<end_of_turn>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
LLAMA_3 = (
    "{{- bos_token }}\n"
    "{%- set today = strftime_now('%d %b %Y') if strftime_now is defined else '26 Jul 2024' %}\n"
    "{%- if messages[0]['role'] == 'system' %}\n"
    "    {%- set told = messages[0]['content'] | trim %}\n"
    "    {%- set messages = messages[1:] %}\n"
    "{%- else %}\n    {%- set told = '' %}\n{%- endif %}\n"
    "{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' }}\n"
    "{{- 'Today Date: ' + today + '\\n\\n' + told + '<|eot_id|>' }}\n"
    "{%- for message in messages %}\n"
    "    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}\n"
    "    {{- message['content'] | trim + '<|eot_id|>' }}\n"
    "{%- endfor %}\n"
    "{%- if add_generation_prompt %}\n"
    "    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}\n"
)
PHI_3 = (
    "{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{ '<|system|>\\n' + message['content'] + '<|end|>\\n' }}"
    "{% elif message['role'] == 'user' %}"
    "{{ '<|user|>\\n' + message['content'] + '<|end|>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)
SMOL = (
    "{%- set today = strftime_now('%d-%B-%Y') -%}"
    "{%- for message in messages -%}{%- if message.role == 'assistant' -%}"
    "{%- generation -%}{{ message.content }}{%- endgeneration -%}{%- continue -%}{%- endif -%}"
    "{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{%- endfor -%}{{ '<|im_start|>assistant\\n' }}"
)
MISTRAL = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set messages = messages[1:] %}"
    "{% endif %}{% for message in messages %}{{ '[INST] ' + message.content + ' [/INST]' }}"
    "{% endfor %}"
)

"""Queries with the one text that answers each, by language: what the load check judges by.

The texts of a language have nothing in common, so that any reranker of that language puts each
query's own text above any other query's.
"""

from __future__ import annotations

from typing import TypeAlias

KnownAnswers: TypeAlias = tuple[tuple[str, str], ...]
"""Pairs of a query and the text that answers it."""

KNOWN_ANSWERS: dict[str, KnownAnswers] = {
    "en": (
        ("What do pandas eat?", "Giant pandas eat bamboo for most of the day."),
        ("How do I bake bread?", "Knead flour, water, salt and yeast, then bake the loaf."),
        ("What is the capital of France?", "Paris is the capital and largest city of France."),
        ("How do vaccines work?", "Vaccines train the immune system to recognise a virus."),
        ("Who painted the Mona Lisa?", "The Mona Lisa was painted by Leonardo da Vinci."),
    ),
    "de": (
        ("Was fressen Pandas?", "Große Pandas fressen fast den ganzen Tag lang Bambus."),
        ("Wie backe ich Brot?", "Mehl, Wasser, Salz und Hefe kneten und das Brot backen."),
        ("Was ist die Hauptstadt von Frankreich?", "Paris ist die Hauptstadt von Frankreich."),
        ("Wie wirken Impfstoffe?", "Impfstoffe lehren das Immunsystem, ein Virus zu erkennen."),
        ("Wer malte die Mona Lisa?", "Die Mona Lisa wurde von Leonardo da Vinci gemalt."),
    ),
    "es": (
        ("¿Qué comen los pandas?", "Los pandas gigantes comen bambú casi todo el día."),
        ("¿Cómo se hace pan?", "Amasa harina, agua, sal y levadura y hornea el pan."),
        ("¿Cuál es la capital de Francia?", "París es la capital de Francia."),
        ("¿Cómo funcionan las vacunas?", "Las vacunas enseñan al sistema inmunitario un virus."),
        ("¿Quién pintó la Mona Lisa?", "La Mona Lisa fue pintada por Leonardo da Vinci."),
    ),
    "fr": (
        ("Que mangent les pandas ?", "Les pandas géants mangent du bambou toute la journée."),
        ("Comment faire du pain ?", "Pétrissez farine, eau, sel et levure, puis cuisez le pain."),
        ("Quelle est la capitale de l'Italie ?", "Rome est la capitale de l'Italie."),
        ("Comment agissent les vaccins ?", "Les vaccins préparent l'immunité contre un virus."),
        ("Qui a peint la Joconde ?", "La Joconde a été peinte par Léonard de Vinci."),
    ),
    "ja": (
        ("パンダは何を食べますか?", "ジャイアントパンダは一日中竹を食べます。"),
        ("パンの焼き方は?", "小麦粉と水と塩とイーストをこねてパンを焼きます。"),
        ("フランスの首都はどこですか?", "フランスの首都はパリです。"),
        ("ワクチンはどう働きますか?", "ワクチンは免疫にウイルスを覚えさせます。"),
        ("モナ・リザを描いたのは誰ですか?", "モナ・リザはレオナルド・ダ・ヴィンチが描きました。"),
    ),
    "ru": (
        ("Что едят панды?", "Большие панды почти весь день едят бамбук."),
        ("Как испечь хлеб?", "Замесите муку, воду, соль и дрожжи и испеките хлеб."),
        ("Какая столица Франции?", "Париж является столицей Франции."),
        ("Как действуют вакцины?", "Вакцины учат иммунитет узнавать вирус."),
        ("Кто написал Мону Лизу?", "Мону Лизу написал Леонардо да Винчи."),
    ),
    "zh": (
        ("熊猫吃什么?", "大熊猫一天大部分时间都在吃竹子。"),
        ("怎么烤面包?", "把面粉、水、盐和酵母揉成面团,然后烤面包。"),
        ("法国的首都是哪里?", "巴黎是法国的首都。"),
        ("疫苗是怎么起作用的?", "疫苗让免疫系统学会识别病毒。"),
        ("谁画了蒙娜丽莎?", "蒙娜丽莎是列奥纳多·达·芬奇画的。"),
    ),
}

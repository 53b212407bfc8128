"""Exports become tables: recognised, cleaned of what identifies people, counted, and readable by a study."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pyarrow.parquet as pq
import pytest

from rox.cli import main
from rox.commands.importing import FORMATS, SUBJECTS
from rox.core.errors import DataError
from rox.core.study import read_study
from rox.core.words import say
from rox.linking.imports.page import page
from rox.linking.imports.run import Imported, import_export
from rox.linking.load import load
from rox.linking.pseudonyms import pseudonym

KEY = "not a secret: the key of the tests, 0123456789"
EXPORTS = Path(__file__).parent / "exports"
Bring = Callable[..., Imported]


@pytest.fixture
def bring(tmp_path: Path) -> Bring:
    """Import an export of the tests, or one written by a test."""

    def run(file: str | Path, subject: Any = "survey", **more: Any) -> Imported:
        path = EXPORTS / file if isinstance(file, str) else file
        options = {"into": tmp_path / "out", "environment": {"ROX_ID_KEY": KEY}, **more}
        return import_export(str(path), subject, **options)

    return run


@pytest.fixture
def export(tmp_path: Path) -> Callable[..., Path]:
    """Write an export and perhaps its map."""

    def write(text: str, name: str = "export.csv") -> Path:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path / name

    return write


def frame(imported: Imported) -> pd.DataFrame:
    return pq.read_table(imported.files[0]).to_pandas()


def uses(imported: Imported) -> dict[str, str]:
    return {line.source: f"{line.use.part} {line.use.name}".strip() for line in imported.plan.lines}


def hidden(text: str, domain: str = "customer") -> str:
    return pseudonym(KEY.encode(), text, domain=domain)


def test_qualtrics(bring: Bring) -> None:
    done = bring("qualtrics.csv", timezone="Asia/Shanghai")
    assert done.plan.layout.format == "qualtrics"
    found = uses(done)
    assert found["Q1"] == "score nps"
    assert found["Q2"] == "driver q2"
    assert found["EndDate"] == "role date"
    for column in ("IPAddress", "RecipientEmail", "RecipientLastName", "LocationLatitude"):
        assert found[column] == "identifier"
    assert found["Q3_TEXT"] == "text"
    assert done.typed is not None
    assert done.typed.left_out == {
        "imports.out.preview": 1,
        "imports.out.unfinished": 1,
        "imports.out.anonymous": 1,
    }
    assert (done.typed.rows, done.typed.kept, done.typed.coded["q2"]) == (6, 3, 1)
    table = frame(done)
    assert list(table["customer"]) == [hidden("00017"), hidden("00018"), hidden("00020")]
    assert list(table["key"]) == [hidden(f"R_{n}aaaaaaaaaaaaaa", "record") for n in (1, 2, 5)]
    assert list(table["nps"]) == [9, 6, 8]
    assert [str(day) for day in table["date"]] == ["2025-03-01", "2025-03-01", "2025-03-02"]
    assert table["q2"].isna().sum() == 1


def test_times_stay_in_the_zone_of_the_export_unless_told(bring: Bring) -> None:
    assert [str(day) for day in frame(bring("qualtrics.csv"))["date"]] == ["2025-02-28", "2025-02-28", "2025-03-01"]


def test_surveymonkey_needs_the_order_of_its_dates(bring: Bring) -> None:
    with pytest.raises(DataError, match="End Date · day or month first"):
        bring("surveymonkey.csv")
    done = bring("surveymonkey.csv", map_file=EXPORTS / "surveymonkey.toml")
    found = uses(done)
    rating = "How would you rate the following? — "
    assert found["How likely is it that you would recommend us to a friend or colleague?"] == "score nps"
    assert found[f"{rating}Speed"].startswith("driver")
    assert found[f"{rating}Courtesy"].startswith("driver")
    assert found["What could we do better?"] == "text"
    assert found["Which do you use? — App"] == "ignored"
    table = frame(done)
    assert [str(day) for day in table["date"]] == ["2025-02-28", "2025-03-01", "2025-03-13"]
    assert list(table["customer"]) == [hidden("00017"), hidden("00018"), hidden("00020")]


def test_delighted(bring: Bring) -> None:
    done = bring("delighted.csv", timezone="Asia/Shanghai", map_file=None)
    assert done.plan.layout.format == "delighted"
    assert uses(done)["person_properties.customer_id"] == "role customer"
    assert uses(done)["person.email"] == "identifier"
    table = frame(done)
    assert list(table["nps"]) == [9, 4, 7]
    assert [str(day) for day in table["date"]] == ["2025-03-01", "2025-03-02", "2025-03-03"]


def test_wenjuanxing(bring: Bring) -> None:
    done = bring("wenjuanxing.csv")
    assert done.plan.layout.format == "wenjuanxing"
    found = uses(done)
    assert found["1、您的客户号"] == "role customer"
    assert found["2、您向朋友推荐我行的可能性有多大？（0-10分）"] == "score nps"
    assert found["来自IP"] == found["来源详情"] == found["5、您的手机号"] == "identifier"
    assert found["6、您还有什么建议"] == "text"
    assert found["3(1)、网点环境"] == "driver q3"
    assert found["3(2)、等候时间"] == "driver q3_2"
    assert done.typed is not None
    assert done.typed.coded["q3_2"] == 1
    table = frame(done)
    assert [str(day) for day in table["date"]] == ["2025-03-01", "2025-03-01", "2025-03-02"]
    assert list(table["nps"]) == [9, 4, 10]


def test_a_map_for_any_other_system(bring: Bring) -> None:
    done = bring("medallia.csv", map_file=EXPORTS / "medallia.toml", timezone="Asia/Shanghai")
    assert done.plan.layout.format == "generic"
    assert uses(done)["request_sent_to"] == uses(done)["customer_name"] == "identifier"
    assert done.typed is not None
    assert done.typed.left_out == {"imports.out.map": 1}
    assert done.typed.coded["nps"] == 1
    table = frame(done)
    assert [str(day) for day in table["date"]] == ["2025-03-01", "2025-03-01"]
    assert table["nps"].iloc[0] == 10
    assert pd.isna(table["nps"].iloc[1])
    assert list(table["stars"]) == [5, 2]


def test_without_a_map_codes_are_a_fault_and_not_a_score(bring: Bring, export: Callable[..., Path]) -> None:
    text = (EXPORTS / "medallia.toml").read_text(encoding="utf-8").replace("missing = [99]\n", "")
    with pytest.raises(DataError, match=r"ltr · outside its scale from 0 to 10; name codes.*1 row, at row 3"):
        bring("medallia.csv", map_file=export(text, "map.toml"))


FOUR = ["qualtrics", "surveymonkey", "delighted", "wenjuanxing"]


@pytest.mark.parametrize("format", FOUR)
def test_what_was_said_is_checked(bring: Bring, format: str) -> None:
    other = FOUR[FOUR.index(format) - 1]
    with pytest.raises(DataError, match=f"is not built like an export of {other}"):
        bring(f"{format}.csv", format=other, dry_run=True)


PERSONAL = [
    "ann@example.com",
    "Marlow",
    "10.1.2.3",
    "13912345678",
    "Shorter queues",
    "希望周末",
    "00017",
    "R_1aaa",
    "51.5",
]


@pytest.mark.parametrize("format", FOUR)
def test_nothing_personal_leaves_the_export(bring: Bring, tmp_path: Path, format: str) -> None:
    map_file = EXPORTS / "surveymonkey.toml" if format == "surveymonkey" else None
    done = bring(f"{format}.csv", map_file=map_file)
    written = "".join(
        pq.read_table(path).to_pandas().to_csv() if path.suffix == ".parquet" else path.read_text(encoding="utf-8")
        for path in (tmp_path / "out").iterdir()
    )
    for language in ("en", "zh"):
        shown = page(done, language)  # type: ignore[arg-type]
        for value in (*PERSONAL, KEY):
            assert value not in shown
            assert value not in written
    for path in (tmp_path / "out").iterdir():
        assert KEY.encode() not in path.read_bytes()


def test_the_same_key_joins_two_files_in_a_study(bring: Bring, tmp_path: Path, export: Callable[..., Path]) -> None:
    bring("wenjuanxing.csv")
    bring(
        export("客户号,客户等级,手机\n00017,金卡,13912345678\n00018,普通,13812345679\n00020,普通,13712345670\n"),
        "customers",
    )
    ledger = "客户号,月份,余额\n" + "".join(f'000{n},2025年4月,"¥1,0{n}.50"\n' for n in (17, 18, 20))
    amounts = 'currency = "CNY"\n[outcomes.aum]\ncolumn = "余额"\nkind = "stock"\nlabel = "资产"\n'
    bring(export(ledger, "ledger.csv"), "ledger", map_file=export(amounts, "ledger.toml"))
    head = (
        '[study]\nname = "made"\ntitle = "Made"\ncurrency = "CNY"\nextract = 2025-06-30\ntimezone = "Asia/Shanghai"\n\n'
    )
    parts = [path.read_text(encoding="utf-8") for path in sorted((tmp_path / "out").glob("*.toml"))]
    study = tmp_path / "out" / "study.toml"
    study.write_text(head + "\n".join(parts), encoding="utf-8")
    tables = load(read_study(study))
    assert dict(tables.counts) == {"answers": 3, "customers": 3, "ledger": 3}
    money = tables.fetch(tables.tables["ledger"].order_by("aum"))
    assert list(money["aum"]) == [101750, 101850, 102050]
    assert set(money["customer"]) == {hidden(f"000{n}") for n in (17, 18, 20)}
    assert set(tables.fetch(tables.tables["customers"])["segment"]) == {"金卡", "普通"}


def test_the_lines_for_the_study_are_toml_and_doubtful_scales_are_comments(bring: Bring) -> None:
    done = bring("qualtrics.csv")
    lines = tomllib.loads(done.fragment)
    assert lines["tables"]["answers"]["path"] == "answers.parquet"
    assert lines["scores"]["nps"]["label"] == "How likely are you to recommend our bank?"
    assert "drivers" not in lines
    bare = tomllib.loads(re.sub(r"^# (?=\[drivers|column|low|high|kind|label)", "", done.fragment, flags=re.MULTILINE))
    assert bare["drivers"]["q2"]["high"] == 5
    assert done.key in done.fragment


def test_several_exports_of_one_table(bring: Bring, tmp_path: Path) -> None:
    done = bring("qualtrics.csv", name="q1")
    assert done.files[0] == tmp_path / "out" / "answers-q1.parquet"
    assert tomllib.loads(done.fragment)["tables"]["answers"]["path"] == "answers-*.parquet"


def test_a_dry_run_needs_no_key_and_writes_nothing(bring: Bring, tmp_path: Path) -> None:
    done = bring("qualtrics.csv", environment={}, dry_run=True)
    assert done.files == ()
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="ROX_ID_KEY is not set"):
        bring("qualtrics.csv", environment={})


PUBLISHED_ID = "11010519491231002X"


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        ([PUBLISHED_ID, "a", "b"], "identity numbers"),
        (["13912345678", "13812345678", "x"], "mobile numbers"),
        (["4111111111111111", "5555555555554444"], "bank card numbers"),
        (["ann@example.com", "b"], "e-mail addresses"),
    ],
)
def test_ids_that_identify_people_are_not_kept(
    bring: Bring, export: Callable[..., Path], ids: list[str], said: str
) -> None:
    path = export("customer_id,date,nps\n" + "".join(f"{each},2025-03-01,9\n" for each in ids))
    with pytest.raises(DataError, match=said) as caught:
        bring(path, keep_ids=True)
    assert not any(each in str(caught.value) for each in ids if len(each) > 1)
    assert frame(bring(path))["customer"].iloc[0] == hidden(ids[0])


def test_pseudonyms_made_elsewhere_are_kept(bring: Bring, export: Callable[..., Path]) -> None:
    path = export("customer_id,date,nps\nc-7f,2025-03-01,9\nc-8a,2025-03-01,4\n")
    assert list(frame(bring(path, keep_ids=True, environment={}))["customer"]) == ["c-7f", "c-8a"]


@pytest.mark.parametrize("ids", ["md5", "sha256", "hash"])
def test_a_map_that_wants_a_plain_hash_is_refused(bring: Bring, export: Callable[..., Path], ids: str) -> None:
    with pytest.raises(DataError, match=r"A hash without a key hides nobody.*identity numbers"):
        bring("medallia.csv", map_file=export(f'ids = "{ids}"\n', "map.toml"))


@pytest.mark.parametrize(
    ("topic", "said"),
    [("call me at 13912345678", "mobile numbers"), ("a" * 70, "free text")],
)
def test_a_kept_column_must_not_speak_of_people(
    bring: Bring, export: Callable[..., Path], topic: str, said: str
) -> None:
    path = export(f"customer_id,date,kind,topic\nc1,2025-03-01,complaint,{topic}\n")
    with pytest.raises(DataError, match=said) as caught:
        bring(path, "feedback")
    assert topic not in str(caught.value)


def test_contents_tell_what_a_name_does_not(bring: Bring, export: Callable[..., Path]) -> None:
    rows = "".join(f"c{n},2025-03-0{n},9,1391234567{n},n{n}@example.com,10.0.0.{n}\n" for n in range(1, 6))
    done = bring(export("customer_id,date,nps,a,b,c\n" + rows))
    whys = {line.source: line.use.why for line in done.plan.lines}
    assert (whys["a"], whys["b"], whys["c"]) == ("imports.why.mobile", "imports.why.email", "imports.why.ip")


def test_a_workbook_of_wenjuanxing(bring: Bring, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for line in (EXPORTS / "wenjuanxing.csv").read_text(encoding="gb18030").splitlines():
        book.active.append(line.split(","))
    book.save(tmp_path / "wjx.xlsx")
    assert frame(bring(tmp_path / "wjx.xlsx")).equals(frame(bring("wenjuanxing.csv", into=tmp_path / "other")))


def test_parquet_with_controls(bring: Bring, tmp_path: Path) -> None:
    people = pd.DataFrame(
        {"cust_id": ["1", "2"], "segment": ["a", "b"], "age": [40, 50], "email": ["a@b.co", "c@d.co"]}
    )
    people.to_parquet(tmp_path / "people.parquet")
    (tmp_path / "map.toml").write_text('[controls]\nage = "age"\n', encoding="utf-8")
    done = bring(tmp_path / "people.parquet", "customers", map_file=tmp_path / "map.toml")
    assert list(frame(done).columns) == ["customer", "segment", "age"]
    assert list(frame(done)["age"]) == [40, 50]
    assert tomllib.loads(done.fragment)["tables"]["customers"]["controls"] == ["age"]


def test_every_fault_of_a_map_at_once(bring: Bring, export: Callable[..., Path]) -> None:
    text = '[columns]\ncustomer = "nobody"\nowner = "channel"\n[outcomes.aum]\ncolumn = "ltr"\nkind = "stock"\n'
    with pytest.raises(DataError) as caught:
        bring("medallia.csv", map_file=export(text, "map.toml"))
    for words in (
        "columns.customer · there is no column 'nobody'",
        "columns.owner · unknown role",
        "outcomes · a table of answers has none",
        "currency · missing",
    ):
        assert words in str(caught.value)


def test_two_columns_that_may_be_the_customer_are_asked_about(bring: Bring, export: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"customer · 'customer_id' or 'client_id'\? say which in a map"):
        bring(export("customer_id,client_id,date,nps\n1,2,2025-03-01,9\n"))


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "empty"), ("\n\n", "blank|empty"), ("a,b\n1,2,3\n", "do not fit the 2 columns")],
)
def test_a_file_that_is_no_table_is_told(bring: Bring, export: Callable[..., Path], content: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        bring(export(content))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["import", str(EXPORTS / "qualtrics.csv"), "--as", "survey", "--into", str(tmp_path / "out")]
    monkeypatch.delenv("ROX_ID_KEY", raising=False)
    assert main([*words, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    for text in ("Format: qualtrics", "6 read, 3 kept", "1 left out: previews", "[scores.nps]", "RecipientEmail"):
        assert text in shown
    assert main([*words, "--dry-run", "--language", "zh"]) == 0
    assert say("imports.use.identifier", "zh") in capsys.readouterr().out
    assert main(words) == 3
    assert "secrets.token_hex(32)" in capsys.readouterr().err
    monkeypatch.setenv("ROX_ID_KEY", KEY)
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["kept"] == 3
    assert [Path(file).name for file in found["files"]] == ["answers.parquet", "answers.toml"]
    assert main(["import", str(EXPORTS / "surveymonkey.csv"), "--as", "survey", "--into", "x", "--dry-run"]) == 3
    both = capsys.readouterr()
    assert "Format: surveymonkey" in both.out
    assert 'dates = "dmy"' in both.err


def test_the_commands_of_the_guide_run(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = (root / "docs" / "importing.md").read_text(encoding="utf-8")
    (tmp_path / "survey.csv").write_bytes((EXPORTS / "qualtrics.csv").read_bytes())
    (tmp_path / "medallia.csv").write_bytes((EXPORTS / "medallia.csv").read_bytes())
    (tmp_path / "map.toml").write_text(re.findall(r"```toml\n(.*?)```", guide, flags=re.DOTALL)[0], encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROX_ID_KEY", KEY)
    commands = re.findall(r"^rox (import .*)$", guide, flags=re.MULTILINE)
    assert len(commands) == 3
    for command in commands:
        assert main(command.split()) == 0, capsys.readouterr().err
    made = {path.name for path in (tmp_path / "bank").iterdir()}
    assert made == {"answers.parquet", "answers.toml", "answers-calls.parquet", "answers-calls.toml"}
    for name in SUBJECTS:
        assert name in guide
    for name in FORMATS[1:]:
        assert f"| `{name}`" in guide

"""Definitions that cannot be used say so at load: file, line, XPath, hint. One file a mistake, named after it."""

from __future__ import annotations

import copy
import pickle
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from framecodec.plan import Plan
from streams import definitions
from streams.errors import DefinitionError

BAD = sorted((Path(__file__).parent / "definitions" / "bad" / "xtce").glob("*.xml"))


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_bad_definition_is_refused_with_its_reason(path: Path) -> None:
    match = re.match(r"<!-- expect: (.*?)(?:\|(.*?))? -->", path.read_text())
    assert match
    with pytest.raises(DefinitionError) as caught:
        Plan(definitions.load(path))

    assert match[1] in caught.value.what
    assert (match[2] or "") in (caught.value.hint or "")
    assert caught.value.file == str(path) and caught.value.line is not None and caught.value.line >= 1
    assert len(str(caught.value).splitlines()) <= 3
    if "well-formed" not in match[1]:
        assert caught.value.path and caught.value.path.startswith("/")


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_examined_definition_has_the_mistake_that_loading_names(path: Path) -> None:
    try:
        definitions.load(path)
    except DefinitionError as error:
        definition, mistakes = definitions.examine(path)
        assert definition is None
        assert str(error) in map(str, mistakes)
        assert len(mistakes) <= 3
    else:                                                   # refused by the plan only
        assert definitions.examine(path)[1] == []


MANY = """\
<SpaceSystem name="S">
  <TelemetryMetaData>
    <ParameterTypeSet>
      <IntegerParameterType name="u8"><IntegerDataEncoding sizeInBits="8"/></IntegerParameterType>
      <IntegerParameterType name="wide"><IntegerDataEncoding sizeInBits="900"/></IntegerParameterType>
      <IntegerParameterType name="odd"><IntegerDataEncoding sizeInBit="7"/></IntegerParameterType>
    </ParameterTypeSet>
    <ParameterSet>
      <Parameter name="A" parameterTypeRef="u8"/>
      <Parameter name="B" parameterTypeRef="wide"/>
      <Parameter name="C" parameterTypeRef="odd"/>
      <Parameter name="D" parameterTypeRef="u9"/>
      {more}
    </ParameterSet>
    <ContainerSet>
      <SequenceContainer name="Root"><EntryList><ParameterRefEntry parameterRef="A"/></EntryList></SequenceContainer>
      <SequenceContainer name="First">
        <EntryList>
          <ParameterRefEntry parameterRef="B"/>
          <ParameterRefEntry parameterRef="C"/>
          <ParameterRefEntry parameterRef="D"/>
          <ParameterRefEntry parameterRef="B"/>
          <ParameterRefEntry parameterRef="AA"/>
          <ContainerRefEntry containerRef="Frist"/>
          {entries}
        </EntryList>
        <BaseContainer containerRef="Root"><RestrictionCriteria><Comparison parameterRef="X" value="1"/></RestrictionCriteria>
        </BaseContainer>
      </SequenceContainer>
      <SequenceContainer name="Second"><EntryList/><BaseContainer containerRef="Roof"/></SequenceContainer>
      <SequenceContainer name="Unused"><EntryList><ParameterRefEntry parameterRef="Y"/></EntryList></SequenceContainer>
    </ContainerSet>
  </TelemetryMetaData>
</SpaceSystem>
"""


def test_every_mistake_of_a_definition_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "many.xml"
    path.write_text(MANY.format(more="", entries=""))
    _, mistakes = definitions.examine(path)
    assert [(each.line, each.what) for each in mistakes] == [
        (5, "900 is out of bounds"), (6, "IntegerDataEncoding has no attribute sizeInBit"), (12, "there is no type 'u9' here"),
        (23, "there is no parameter 'AA' here"), (24, "there is no container 'Frist' here"),
        (27, "there is no parameter 'X' here"), (30, "there is no container 'Roof' here"),
    ]


def test_no_more_mistakes_are_named_than_anybody_reads(tmp_path: Path) -> None:
    path, numbers = tmp_path / "very_many.xml", range(3000)
    entries = "".join(f'<ParameterRefEntry parameterRef="B{number}"/>' for number in numbers)
    for kind, named in (("wide", 7), ("none{}", 20)):
        more = "".join(f'<Parameter name="B{number}" parameterTypeRef="{kind.format(number)}"/>' for number in numbers)
        path.write_text(MANY.format(more=more, entries=entries))
        assert len(definitions.examine(path)[1]) == named


def test_there_is_a_bad_definition_for_every_kind_of_element() -> None:
    assert len(BAD) >= 30


def test_the_error_names_the_line_of_the_element(tmp_path: Path) -> None:
    text = (Path(__file__).parent / "definitions" / "bad" / "xtce" / "unknown_parameter.xml").read_text()
    with pytest.raises(DefinitionError) as caught:
        definitions.load(BAD[0].parent / "unknown_parameter.xml")
    assert 'parameterRef="AA"' in text.splitlines()[(caught.value.line or 0) - 1]
    assert caught.value.path == (
        "/SpaceSystem[@name='S']/TelemetryMetaData/ContainerSet/SequenceContainer[@name='C']/EntryList/ParameterRefEntry"
    )


def test_an_attribute_that_is_like_none_of_xtce_is_let_be(tmp_path: Path) -> None:
    """Real files have their own: IMAP's say `signed` of an enumeration."""
    text = (BAD[0].parent / "attribute_misspelt.xml").read_text().replace("sizeInBit=", "vendor=")
    path = tmp_path / "d.xml"
    path.write_text(text)
    assert [parameter.raw_type for parameter in definitions.load(path).parameters] == ["uint8"]


def test_a_missing_file_is_a_definition_error() -> None:
    with pytest.raises(DefinitionError, match="cannot be read"):
        definitions.load("/nonexistent/definition.xml")


def test_an_unknown_root_container_is_named_with_its_nearest(tmp_path: Path) -> None:
    path = BAD[0].parent / "type_without_encoding.xml"
    with pytest.raises(DefinitionError, match="there is no container '/S/D'") as caught:
        definitions.load(path, "/S/D")
    assert caught.value.hint == "did you mean /S/C?"


def test_broken_elements_that_nothing_uses_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "d.xml"
    path.write_text(
        '<SpaceSystem name="S"><TelemetryMetaData><ParameterTypeSet>'
        '<IntegerParameterType name="T"><IntegerDataEncoding/></IntegerParameterType>'
        '<IntegerParameterType name="Broken"><IntegerDataEncoding sizeInBits="999"/></IntegerParameterType>'
        '</ParameterTypeSet><ParameterSet><Parameter name="A" parameterTypeRef="T"/>'
        '<Parameter name="X" parameterTypeRef="None"/>'
        '<Parameter name="Y"/></ParameterSet><ContainerSet>'
        '<SequenceContainer name="C"><EntryList><ParameterRefEntry parameterRef="A"/></EntryList></SequenceContainer>'
        "</ContainerSet></TelemetryMetaData></SpaceSystem>"
    )
    assert [parameter.path for parameter in definitions.load(path).parameters] == ["/S/A"]


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        ("name,type,bit_length\na,uint,8\n", "column data_type is missing", 1),
        ("name,data_type,bit_length\na,uint,8\nb,unt,8\n", "data type 'unt' is not known", 3),
        ("name,data_type,bit_length\na,uint,x\n", "'x' is no number of bits", 2),
        ("name,data_type,bit_length\na,uint,65\n", "a number of 65 bits is not supported", 2),
        ("name,data_type,bit_length\na,float,24\n", "a float of 24 bits is not supported", 2),
        ("name,data_type,bit_length\na,uint,8\na,uint,8\n", "there are two fields 'a'", 3),
        ("name,data_type,bit_length\na,uint(b),8\nb,uint,8\n", "the size 'b' is no number", 2),
        ("name,data_type,bit_length\na,uint(expand),8\nb,uint(expand),8\n", "an expanding array must be the last array", 2),
        ("name,data_type,bit_length\n", "the table has no fields", 1),
        ("name,data_type,bit_length\n,uint,8\n", "the field has no name", 2),
        ("name,data_type,bit_length\na,uint,\u00b2\n", "'\u00b2' is no number of bits", 2),
        ("name,data_type,bit_length\na,uint(\u00b2),8\n", "the size '\u00b2' is no number", 2),
        (f"name,data_type,bit_length\na,uint,{5000 * '9'}\n", f"a number of {18 * '9'} bits is not supported", 2),
        (f"name,data_type,bit_length\na,fill,{5000 * '9'}\n", f"{18 * '9'} bits are more than a packet has", 2),
        ("name,data_type,bit_length\na,str,524337\n", "524337 bits are more than a packet has", 2),
        ("name,data_type,bit_length,bit_offset\na,uint,8,9999999\n", "9999999 bits are more than a packet has", 2),
        ('name,data_type,bit_length\na,"uint(1000, 1000)",8\n', "an array of 8000000 bits is more than a packet has", 2),
        (f'name,data_type,bit_length\na,"uint({32 * "1,"}1)",8\n', "an array of 33 dimensions is not supported", 2),
        (f"name,data_type,bit_length\n{200_000 * 'a'},uint,8\n", "is not CSV: field larger than field limit", 1),
    ],
)
def test_bad_table_is_refused_with_its_line(tmp_path: Path, text: str, what: str, line: int) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(DefinitionError) as caught:
        definitions.load(path)
    assert what in caught.value.what and caught.value.line == line


def test_every_mistake_of_a_table_is_named(tmp_path: Path) -> None:
    """One line's mistake makes none of another: `data` may have `count` of elements, whatever type that was to be."""
    path = tmp_path / "table.csv"
    path.write_text(
        "name,data_type,bit_length\ncount,unit,x\nspare,fill,4\ndata,uint(count),80\nvoltage,float(cuont),24\n"
        "data,int,8\nrest,uint(expand),8\ntail,uint(2),8\n"
    )
    definition, mistakes = definitions.examine(path)
    assert definition is None
    assert [(each.line, each.what.partition(" and no whole")[0]) for each in mistakes] == [
        (2, "data type 'unit' is not known"), (2, "'x' is no number of bits"), (4, "a number of 80 bits is not supported"),
        (5, "a float of 24 bits is not supported"), (5, "the size 'cuont' is no number"), (6, "there are two fields 'data'"),
        (7, "an expanding array must be the last array"),
    ]
    path.write_text("name,data_type,bit_length\n" + 100 * "a,uint,99\n")
    assert len(definitions.examine(path)[1]) == 20


def test_entities_are_not_expanded(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    path = tmp_path / "d.xml"
    path.write_text(f'<!DOCTYPE x [<!ENTITY e SYSTEM "{secret}">]><SpaceSystem name="&e;"/>')
    with pytest.raises(DefinitionError) as caught:
        definitions.load(path)
    assert "secret" not in caught.value.what.replace(str(secret), "")
    assert b"secret\n" not in pickle.dumps(str(caught.value))


EVERYTHING = ElementTree.parse(Path(__file__).parent / "definitions" / "good" / "xtce" / "everything.xml").getroot()
TAGS = sorted({element.tag for element in EVERYTHING.iter()})
ATTRIBUTES = sorted({(element.tag, name) for element in EVERYTHING.iter() for name in element.attrib})


def local(tag: str) -> str:
    return tag.rpartition("}")[2]


def refused(tmp_path: Path, root: ElementTree.Element) -> DefinitionError:
    path = tmp_path / "d.xml"
    path.write_bytes(ElementTree.tostring(root))
    with pytest.raises(DefinitionError) as caught:
        definitions.load(path)
    assert caught.value.line is not None and (caught.value.path or "").startswith("/")
    return caught.value


@pytest.mark.parametrize("tag", TAGS, ids=local)
def test_no_element_can_be_misspelt_unseen(tmp_path: Path, tag: str) -> None:
    """Skipping it would leave a default, or a container without heirs, and nobody would know."""
    root = copy.deepcopy(EVERYTHING)
    element = next(root.iter(tag))
    element.tag = f"{tag}x"
    error = refused(tmp_path, root)
    # The declaring sets are not looked into before something asks for what they declare.
    if "Set" not in tag and "MetaData" not in tag:
        assert f"{local(tag)}x" in f"{error.what} {error.path}"


@pytest.mark.parametrize(("tag", "name"), ATTRIBUTES, ids=lambda word: local(word))
def test_no_attribute_can_be_misspelt_unseen(tmp_path: Path, tag: str, name: str) -> None:
    root = copy.deepcopy(EVERYTHING)
    element = next(element for element in root.iter(tag) if name in element.attrib)
    element.attrib[f"{name}x"] = element.attrib.pop(name)
    error = refused(tmp_path, root)
    assert name in f"{error.what} {error.hint}" or name == "name"


@pytest.mark.parametrize(
    ("name", "what"),
    {
        "containers_that_double": "more than 100000 entries",
        "aggregates_that_double": "values in one aggregate",
        "conditions_nested_deeply": "nested too deeply",
        "space_systems_nested_deeply": "nested too deeply",
        "array_larger_than_memory": "is in no packet",
        "place_of_64_bits": "is out of bounds",
        "value_that_is_nan": "'nan' is no number",
        "parameter_refs_in_a_circle": "leads in a circle",
        "entities_that_double": "amplification",
    }.items(),
)
def test_definitions_that_ask_for_too_much_are_refused(name: str, what: str) -> None:
    with pytest.raises(DefinitionError, match=what):
        definitions.load(Path(__file__).parent / "fuzz" / "corpus" / "definitions" / f"{name}.xml")

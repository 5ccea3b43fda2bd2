"""What AWS would refuse, or the engine doesn't run, is refused before anything runs: by its field, with the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.local.bench import Bench

INVOKE = "arn:aws:states:::lambda:invoke"
LISTING = "arn:aws:states:::s3:listObjectsV2"
State = dict[str, Any]


def one(state: Any, *, language: str = "JSONata", **top: Any) -> State:
    return {"QueryLanguage": language, "StartAt": "One", "States": {"One": state}, **top}


def path(**state: Any) -> State:
    return one({"Type": "Pass", "End": True, **state}, language="JSONPath")


def task(**fields: Any) -> State:
    return one({"Type": "Task", "Resource": INVOKE, "End": True, **fields})


def retry(**fields: Any) -> State:
    return task(Retry=[{"ErrorEquals": ["Bad"], **fields}])


def choice(**rule: Any) -> State:
    return one({"Type": "Choice", "Choices": [{"Next": "One", **rule}]}, language="JSONPath")


def inline(**fields: Any) -> State:
    inner = {"StartAt": "In", "States": {"In": {"Type": "Pass", "End": True}}}
    return one({"Type": "Map", "ItemProcessor": {**inner, **fields}, "End": True})


def mapped(*, language: str = "JSONata", processor: State | None = None, **fields: Any) -> State:
    inner = {
        "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
        "StartAt": "In",
        "States": {"In": {"Type": "Pass", "End": True}},
        **(processor or {}),
    }
    return one({"Type": "Map", "ItemProcessor": inner, "End": True, **fields}, language=language)


def read(place: State | None = None, **config: Any) -> State:
    given = {"Bucket": "b", "Key": "k"} if place is None else place
    resource = "arn:aws:states:::s3:getObject"
    return mapped(ItemReader={"Resource": resource, "ReaderConfig": config, "Arguments": given})


def listed(place: State | None = None, **config: Any) -> State:
    given = {"Bucket": "b"} if place is None else place
    return mapped(ItemReader={"Resource": LISTING, "ReaderConfig": config, "Arguments": given})


def written(**fields: Any) -> State:
    return mapped(
        ResultWriter={"Resource": "arn:aws:states:::s3:putObject", "Arguments": {"Bucket": "b", "Prefix": "p"}} | fields
    )


JSON: State = {"InputType": "JSON"}
CSV: State = {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"}
# What is refused, and what the message must say: the field first, then the remedy.
REFUSED: dict[str, tuple[Any, str, str]] = {
    # the state machine
    "top-field": (one({"Type": "Succeed"}, Foo=1), "'Foo'", "use Comment"),
    "top-timeout": (one({"Type": "Succeed"}, TimeoutSeconds=0), "TimeoutSeconds 0", "from 1 to 99999999"),
    "top-timeout-text": (one({"Type": "Succeed"}, TimeoutSeconds="9"), "TimeoutSeconds '9'", "give an integer"),
    "top-version": (one({"Type": "Succeed"}, Version="2.0"), "Version '2.0'", '"1.0"'),
    "top-language": (one({"Type": "Succeed"}, language="XPath"), "QueryLanguage 'XPath'", "JSONata"),
    "not-an-object": ([1], "the definition", "StartAt"),
    "state-name-twice": (
        one({"Type": "Parallel", "Branches": [one({"Type": "Succeed"})], "End": True}),
        "'One'",
        "a name of its own",
    ),
    "state-name-long": (
        {"StartAt": "x" * 81, "States": {"x" * 81: {"Type": "Succeed"}}},
        "a name of 81 characters",
        "give at most 80",
    ),
    # any state
    "state": (one(3), "'One' is 3", "give an object"),
    "state-field": (one({"Type": "Succeed", "Foo": 1}), "'Foo'", "remove it"),
    "state-comment": (one({"Type": "Succeed", "Comment": 1}), "Comment 1", "give a string"),
    "state-end": (one({"Type": "Pass", "End": "yes"}), "End 'yes'", "give true"),
    "json-path-in-jsonata": (
        one({"Type": "Succeed", "QueryLanguage": "JSONPath"}),
        "QueryLanguage 'JSONPath'",
        "to the state machine",
    ),
    "jsonata-in-json-path": (path(Output={}), "'Output'", "it belongs to JSONata: change QueryLanguage"),
    "assign-reserved": (one({"Type": "Pass", "Assign": {"states": 1}, "End": True}), "'states'", "give a name"),
    "assign-digit": (one({"Type": "Pass", "Assign": {"1a": 1}, "End": True}), "'1a'", "begins with no digit"),
    "assign-list": (one({"Type": "Pass", "Assign": [1], "End": True}), "Assign [1]", "give an object"),
    # Task
    "activity": (
        task(Resource="arn:aws:states:us-east-1:000000000000:activity:a"),
        "activity:a' is an activity",
        ".waitForTaskToken",
    ),
    "credentials": (
        task(Credentials={"RoleArn": "arn:aws:iam::111111111111:role/r"}),
        "Credentials {'RoleArn'",
        "to the state machine's role",
    ),
    "credentials-here": (
        task(Credentials={"RoleArn": "arn:aws:iam::000000000000:role/r"}),
        "Credentials {'RoleArn'",
        "to the state machine's role",
    ),
    "resource-number": (task(Resource=3), "no Resource", "give the ARN"),
    "resource-no-arn": (task(Resource="x:aws:states:::lambda:invoke"), "'x:aws:states", INVOKE),
    "resource-expression": (task(Resource="{% $states.input %}"), "'{% $states.input %}'", INVOKE),
    "resource-http": (task(Resource="arn:aws:states:::http:invoke"), "http:invoke", "use one of"),
    "resource-sync": (task(Resource=f"{INVOKE}.sync"), "lambda:invoke.sync", "use one of"),
    "resource-region": (
        task(Resource="arn:aws:lambda:eu-west-1:000000000000:function:f"),
        "Resource 'arn:aws:lambda:eu-west-1",
        "'us-east-1'",
    ),
    "resource-account": (
        task(Resource="arn:aws:lambda:us-east-1:111111111111:function:f"),
        "account '111111111111'",
        "'000000000000'",
    ),
    "resource-partition": (task(Resource="arn:aws-cn:states:::lambda:invoke"), "partition 'aws-cn'", "'aws'"),
    "function-region": (
        task(Arguments={"FunctionName": "arn:aws:lambda:eu-west-1:000000000000:function:f"}),
        "Arguments/FunctionName 'arn:aws:lambda:eu-west-1",
        "'us-east-1'",
    ),
    "machine-region": (
        task(
            Resource="arn:aws:states:::states:startExecution",
            Arguments={"StateMachineArn": "arn:aws:states:eu-west-1:000000000000:stateMachine:s"},
        ),
        "Arguments/StateMachineArn 'arn:aws:states:eu-west-1",
        "'us-east-1'",
    ),
    "sdk-service": (task(Resource="arn:aws:states:::aws-sdk:nothing:getIt"), "'nothing'", "give its id"),
    "sdk-action": (task(Resource="arn:aws:states:::aws-sdk:s3:getObjekt"), "'getObjekt'", "'getObject'"),
    "sdk-capital": (task(Resource="arn:aws:states:::aws-sdk:s3:GetObject"), "'GetObject'", "'getObject'"),
    "sdk-sync": (task(Resource="arn:aws:states:::aws-sdk:s3:getObject.sync"), "'getObject.sync'", "no .sync"),
    "timeout": (task(TimeoutSeconds=-1), "TimeoutSeconds -1", "from 1 to"),
    "timeout-text": (task(TimeoutSeconds="5"), "TimeoutSeconds '5'", "give an integer"),
    "heartbeat": (task(TimeoutSeconds=5, HeartbeatSeconds=5), "HeartbeatSeconds 5", "less than TimeoutSeconds"),
    # Retry and Catch
    "retry-object": (task(Retry={"ErrorEquals": ["Bad"]}), "Retry {", "give a list"),
    "retry-field": (retry(Tries=1), "'Tries' in Retry", "use BackoffRate"),
    "retry-errors": (task(Retry=[{"MaxAttempts": 1}]), "ErrorEquals", "give a list of strings"),
    "retry-interval": (retry(IntervalSeconds=0), "IntervalSeconds 0", "from 1 to"),
    "retry-attempts": (retry(MaxAttempts=-1), "MaxAttempts -1", "from 0 to"),
    "retry-rate": (retry(BackoffRate=0.5), "BackoffRate 0.5", "at least 1.0"),
    "retry-cap": (retry(IntervalSeconds=9, MaxDelaySeconds=9), "MaxDelaySeconds 9", "more than IntervalSeconds"),
    "retry-jitter": (retry(JitterStrategy="SOME"), "JitterStrategy 'SOME'", "give FULL or NONE"),
    "retry-all-with-others": (
        task(Retry=[{"ErrorEquals": ["States.ALL", "Bad"]}]),
        "Retry[0] has ErrorEquals",
        "give States.ALL alone",
    ),
    "retry-all-first": (
        task(Retry=[{"ErrorEquals": ["States.ALL"]}, {"ErrorEquals": ["Bad"]}]),
        "Retry[0] has ErrorEquals",
        "in the last entry",
    ),
    "catch-next": (task(Catch=[{"ErrorEquals": ["Bad"]}]), "Catch[0] has no Next", "give the state"),
    "catch-field": (task(Catch=[{"ErrorEquals": ["Bad"], "Next": "One", "Foo": 1}]), "'Foo' in Catch", "use Assign"),
    "catch-path": (
        one(
            {
                "Type": "Task",
                "Resource": INVOKE,
                "Catch": [{"ErrorEquals": ["Bad"], "Next": "One", "ResultPath": "$.a[*]"}],
                "End": True,
            },
            language="JSONPath",
        ),
        "ResultPath '$.a[*]'",
        "fields and indexes",
    ),
    # Choice, Wait, Fail
    "choice-empty": (choice(And=[]), "And []", "at least one rule"),
    "choice-number": (choice(Variable="$.a", NumericEquals="1"), "NumericEquals '1'", "give a number"),
    "choice-time": (choice(Variable="$.a", TimestampEquals="now"), "TimestampEquals 'now'", "2026-01-31T12:00:00Z"),
    "choice-type": (choice(Variable="$.a", IsNull="yes"), "IsNull 'yes'", "true or false"),
    "choice-other": (choice(Variable="$.a", NumericNear=1), "'NumericNear'", "use one of"),
    "choice-path": (choice(Variable="$.a", NumericEqualsPath=1), "NumericEqualsPath 1", "give a path"),
    "choice-condition": (
        one({"Type": "Choice", "Choices": [{"Condition": "true", "Next": "One"}]}),
        "Condition 'true'",
        "give an expression",
    ),
    "wait-seconds": (one({"Type": "Wait", "Seconds": -1, "End": True}), "Seconds -1", "from 0 to 99999999"),
    "wait-text": (one({"Type": "Wait", "Seconds": "1", "End": True}), "Seconds '1'", "SecondsPath"),
    "wait-timestamp": (one({"Type": "Wait", "Timestamp": "noon", "End": True}), "Timestamp 'noon'", "2026-01-31"),
    "fail-error": (one({"Type": "Fail", "Error": 3}), "Error 3", "give a string"),
    # Parallel and Map
    "branch": (
        one({"Type": "Parallel", "Branches": [3], "End": True}),
        "a branch of state 'One' is 3",
        "give an object",
    ),
    "branch-field": (
        one({"Type": "Parallel", "Branches": [{**one({"Type": "Succeed"}), "ProcessorConfig": {}}], "End": True}),
        "'ProcessorConfig'",
        "remove it",
    ),
    "processor-field": (mapped(processor={"TimeoutSeconds": 1}), "'TimeoutSeconds'", "remove it"),
    "processor-config-field": (
        mapped(processor={"ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS", "Foo": 1}}),
        "'Foo' in ProcessorConfig",
        "remove it",
    ),
    "processor-config-type": (
        mapped(processor={"ProcessorConfig": {"Mode": "DISTRIBUTED"}}),
        "ExecutionType None",
        "give STANDARD or EXPRESS",
    ),
    "processor-config-inline": (
        inline(ProcessorConfig={"Mode": "INLINE", "ExecutionType": "EXPRESS"}),
        "'ExecutionType' in ProcessorConfig",
        "remove it",
    ),
    "processor-config-mode": (inline(ProcessorConfig={"Mode": "LOCAL"}), "mode 'LOCAL'", "give INLINE"),
    "map-field": (mapped(Foo=1), "'Foo'", "remove it"),
    "map-selectors": (
        mapped(language="JSONPath", ItemSelector={}, Parameters={}),
        "Parameters beside ItemSelector",
        "keep ItemSelector",
    ),
    "map-concurrency": (mapped(MaxConcurrency="4"), "MaxConcurrency '4'", "give an integer"),
    "map-label": (mapped(Label=None), "Label None", "give a string"),
    "map-items-path": (mapped(language="JSONPath", ItemsPath="$.a.length()"), "'$.a.length()'", "use JSONata"),
    # ItemReader
    "reader-null": (mapped(ItemReader=None), "ItemReader None", "give an object"),
    "reader-field": (mapped(ItemReader={"Resource": LISTING, "Foo": 1}), "'Foo' in ItemReader", "remove it"),
    "reader-resource": (
        mapped(ItemReader={"Resource": "arn:aws:states:::s3:headObject"}),
        "s3:headObject'",
        "s3:getObject or",
    ),
    "reader-items": (mapped(Items=[1], ItemReader={"Resource": LISTING}), "Items beside ItemReader", "keep one"),
    "reader-config-field": (read(**JSON, Foo=1), "'Foo' in ReaderConfig", "remove it"),
    "reader-config-null": (
        mapped(ItemReader={"Resource": LISTING, "ReaderConfig": None}),
        "ReaderConfig None",
        "give an",
    ),
    "reader-type": (read(InputType="XLS"), "InputType 'XLS'", "use one of"),
    "reader-no-key": (read({"Bucket": "b"}, **JSON), "ItemReader/Arguments has no 'Key'", "give it"),
    "reader-arguments": (read({"Bucket": "b", "Key": "k", "Range": "r"}, **JSON), "'Range'", "it takes Bucket"),
    "reader-arguments-list": (
        mapped(ItemReader={"Resource": LISTING, "Arguments": [1]}),
        "Arguments is [1]",
        "give an",
    ),
    "reader-listing-key": (listed({"Bucket": "b", "Key": "k"}), "'Key'", "it takes Bucket"),
    "reader-parquet-version": (
        read({"Bucket": "b", "Key": "k", "VersionId": "v"}, InputType="PARQUET"),
        "'VersionId'",
        "remove it",
    ),
    "reader-header-location": (read(InputType="CSV"), "CSV needs CSVHeaderLocation", "FIRST_ROW or GIVEN"),
    "reader-headers": (read(**CSV, CSVHeaders=["a"]), "CSVHeaders ['a']", "CSVHeaderLocation GIVEN"),
    "reader-headers-text": (
        read(**CSV | {"CSVHeaderLocation": "GIVEN"}, CSVHeaders="ab"),
        "CSVHeaders 'ab'",
        "give a list",
    ),
    "reader-headers-json": (read(**JSON, CSVHeaders=["a"]), "CSVHeaders ['a']", "remove it"),
    "reader-delimiter-json": (read(**JSON, CSVDelimiter="TAB"), "CSVDelimiter 'TAB'", "InputType CSV"),
    "reader-delimiter": (read(**CSV, CSVDelimiter=";"), "CSVDelimiter ';'", "SEMICOLON"),
    "reader-pointer": (read(**JSON, ItemsPointer="a"), "ItemsPointer 'a'", "begins with '/'"),
    "reader-pointer-number": (read(**JSON, ItemsPointer=3), "ItemsPointer 3", "give a string"),
    "reader-pointer-csv": (read(**CSV, ItemsPointer="/a"), "ItemsPointer '/a'", "InputType JSON"),
    "reader-pointer-inventory": (
        read(ManifestType="S3_INVENTORY", ItemsPointer="/a"),
        "ItemsPointer '/a'",
        "remove it",
    ),
    "reader-inventory-type": (read(ManifestType="S3_INVENTORY", InputType="CSV"), "InputType, got 'CSV'", "takes no"),
    "reader-transformation": (
        read(**JSON, Transformation="LOAD_AND_FLATTEN"),
        "Transformation 'LOAD_AND_FLATTEN'",
        "s3:listObjectsV2",
    ),
    "reader-listing-type": (listed(**JSON), "InputType 'JSON'", "LOAD_AND_FLATTEN"),
    "reader-listing-manifest": (listed(ManifestType="S3_INVENTORY"), "ManifestType 'S3_INVENTORY'", "s3:getObject"),
    "reader-flatten-none": (listed(Transformation="LOAD_AND_FLATTEN"), "InputType 'None'", "use one of"),
    # ItemBatcher and ResultWriter
    "batcher-field": (mapped(ItemBatcher={"MaxItemsPerBatch": 1, "Foo": 1}), "'Foo' in ItemBatcher", "use BatchInput"),
    "batcher-empty": (mapped(ItemBatcher={"BatchInput": {}}), "ItemBatcher needs", "MaxItemsPerBatch"),
    "batcher-null": (mapped(ItemBatcher=None), "ItemBatcher None", "give an object"),
    "batcher-both": (
        mapped(language="JSONPath", ItemBatcher={"MaxItemsPerBatch": 1, "MaxItemsPerBatchPath": "$.n"}),
        "MaxItemsPerBatch and MaxItemsPerBatchPath",
        "give one",
    ),
    "writer-field": (written(Foo=1), "'Foo' in ResultWriter", "use Arguments"),
    "writer-resource": (written(Resource="arn:aws:states:::sqs:sendMessage"), "sqs:sendMessage'", "s3:putObject"),
    "writer-arguments": (written(Arguments={"Bucket": "b", "ACL": "x"}), "'ACL'", "it takes Bucket, Prefix"),
    "writer-owner": (
        written(Arguments={"Bucket": "b", "ExpectedBucketOwner": "1"}),
        "'ExpectedBucketOwner'",
        "it takes Bucket, Prefix",
    ),
    "writer-half": (
        mapped(ResultWriter={"Arguments": {"Bucket": "b"}, "WriterConfig": {}}),
        "ResultWriter needs Resource",
        "or neither",
    ),
    "writer-config-field": (written(WriterConfig={"Foo": 1}), "WriterConfig {'Foo': 1}", "use Transformation"),
    "writer-config-list": (written(WriterConfig=[1]), "WriterConfig [1]", "give an object"),
    "writer-config-value": (written(WriterConfig={"Transformation": "ZIP"}), "'ZIP'", "COMPACT"),
    # paths
    "path-length": (path(OutputPath="$.a.length()"), "'$.a.length()'", "use JSONata"),
    "path-template": (path(Parameters={"n.$": "$.a.sum()"}), "'$.a.sum()'", "use JSONata"),
    "path-result": (path(ResultPath="$$.a"), "ResultPath '$$.a'", "give '$'"),
    "path-result-number": (path(ResultPath=3), "ResultPath 3", "give a path"),
    "path-intrinsic": (path(Parameters={"n.$": "States.Foo($.a)"}), "States.Foo", "use one of"),
    "path-number": (path(InputPath=3), "'InputPath' holds 3", "give a path"),
}


@pytest.mark.parametrize(("definition", "field", "remedy"), REFUSED.values(), ids=REFUSED)
def test_fails_when_a_field_does_nothing_here(bench: Bench, definition: Any, field: str, remedy: str) -> None:
    machine = bench.engine_machine(definition)
    with pytest.raises(bench.sfn.exceptions.ClientError) as failed:
        bench.sfn.start_execution(stateMachineArn=machine, input="{}")
    error = failed.value.response["Error"]
    assert error["Code"] == "ValidationException"
    assert field in error["Message"]
    assert remedy in error["Message"]


@pytest.mark.parametrize(
    ("resource", "field", "arn"),
    [
        (INVOKE, "FunctionName", "arn:aws:lambda:eu-west-1:000000000000:function:f"),
        (INVOKE, "FunctionName", "arn:aws:lambda:us-east-1:111111111111:function:f"),
        (INVOKE, "FunctionName", "111111111111:function:f"),
        ("arn:aws:states:::states:startExecution", "StateMachineArn", "arn:aws:states:eu-west-1:0:stateMachine:m"),
        ("arn:aws:states:::aws-sdk:sns:publish", "TopicArn", "arn:aws:sns:eu-west-1:000000000000:topic"),
    ],
    ids=["function-region", "function-account", "function-part", "machine", "sdk"],
)
def test_fails_when_a_task_turns_out_to_call_elsewhere(bench: Bench, resource: str, field: str, arn: str) -> None:
    bench.functions.handlers["f"] = lambda event: event
    message = {"Message": "m"} if field == "TopicArn" else {}
    definition = task(Resource=resource, Arguments={field: "{% $states.input.arn %}", **message})
    found = bench.run(definition, {"arn": arn})
    assert found["error"] == "States.Runtime"
    assert arn.rsplit(":", 1)[-1] in found["cause"]
    assert "use an ARN of that one" in found["cause"]


def test_what_is_here_is_not_refused(bench: Bench) -> None:
    bench.functions.handlers["here"] = lambda event: event
    arn = "arn:aws:lambda:us-east-1:000000000000:function:here"
    definition = task(Arguments={"FunctionName": arn, "Payload": {"n": 1}}, Output="{% $states.result.Payload %}")
    assert bench.output(definition) == {"n": 1}

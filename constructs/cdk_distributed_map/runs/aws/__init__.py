"""How AWS is asked: sessions and clients, ARNs, the pace of calls within quotas, and what descriptions mean.

It knows boto3 and the errors of the client, nothing of pipelines. Answers go out as plain data of our own.
"""

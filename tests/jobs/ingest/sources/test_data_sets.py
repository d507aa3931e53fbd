"""The files of recommender data sets and systems, in invented data of the same layout."""

import io
import json
from pathlib import Path

import polars as pl
import pytest
from sources_contract import ConnectorContract, rows, spec_of, take

from jobs.ingest.sources.spec import SourceOptions
from recsys.errors import DataError
from recsys.workspace import Workspace


def lines(*objects: object) -> str:
    return "".join(json.dumps(each) + "\n" for each in objects)


class TestRecbole(ConnectorContract):
    platform = "recbole"
    label = "RecBole atomic file"
    files = {
        "toys.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu1\ti1\t4\t1400000000\nu1\ti2\t2\t1400000001\n",
        "toys.item": "item_id:token\ttitle:token_seq\tclass:token_seq\tyear:float\ni1\tRed Kite\tToy Outdoor\t2001\ni2\tBall\tToy\t1999\n",
        "toys.user": "user_id:token\tage:float\nu1\t33\n",
    }
    in_lake = {"catalog": 2, "events": 2}
    left_out = {"shopper attributes": 1}
    bad = {"toys.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu1\t\t4\t1400000000\n"}
    bad_rule = "item"

    def test_sequences_are_lists_and_titles_are_texts(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        kite = rows(workspace, "catalog").sort("item_id").row(0, named=True)
        assert kite["title"] == "Red Kite"
        assert json.loads(kite["attributes"]) == {"class": ["Toy", "Outdoor"], "year": "2001"}


class TestRetailrocket(ConnectorContract):
    platform = "retailrocket"
    label = "RetailRocket"
    files = {
        "events.csv": "timestamp,visitorid,event,itemid,transactionid\n1500000000001,7,view,10,\n"
        "1500000000002,7,addtocart,10,\n1500000000003,7,transaction,10,99\n",
        "properties_1.csv": "timestamp,itemid,property,value\n1400000000000,10,categoryid,5\n1450000000000,10,categoryid,6\n",
        "properties_2.csv": "timestamp,itemid,property,value\n1400000000000,10,available,0\n1400000000000,10,790,n12.000 abc\n",
        "tree.csv": "categoryid,parentid\n6,2\n2,\n",
    }
    in_lake = {"catalog": 1, "events": 3}
    bad = {"events.csv": "timestamp,visitorid,event,itemid,transactionid\n1500000000001,7,view,(not set),\n"}
    bad_rule = "not_an_id"

    def test_the_newest_value_of_a_property_counts(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        (item,) = rows(workspace, "catalog").rows(named=True)
        assert (item["category"], item["available"]) == ("2 > 6", False)
        assert json.loads(item["attributes"]) == {"790": "n12.000 abc"}
        assert sorted(rows(workspace, "events")["event_type"]) == ["cart", "purchase", "view"]

    def test_words_can_be_mapped(self, tmp_path: Path, workspace: Workspace) -> None:
        options = SourceOptions(values={"events.event_type": {"view": "click"}})
        take(workspace, spec_of(tmp_path / "files", self.files, options))
        assert sorted(rows(workspace, "events")["event_type"]) == ["cart", "click", "purchase"]


class TestYoochoose(ConnectorContract):
    platform = "yoochoose"
    label = "Yoochoose clicks or buys"
    files = {
        "clicks.dat": "11,2014-04-07T10:51:09.277Z,214530001,0\n11,2014-04-07T10:52:09.277Z,214530002,S\n",
        "buys.dat": "11,2014-04-07T10:55:00.000Z,214530002,1200,2\n",
    }
    in_lake = {"events": 3}
    bad = {"clicks.dat": "11,2014-04-07T10:51:09.277Z,214530001,0\n11,someday,214530002,0\n"}
    bad_rule = "timestamp"

    def test_a_file_without_a_header_loses_no_row(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        events = rows(workspace, "events").sort("timestamp")
        assert events["event_type"].to_list() == ["view", "view", "purchase"]
        assert events["value"].to_list() == [None, None, 2400.0]


class TestDiginetica(ConnectorContract):
    platform = "diginetica"
    label = "Diginetica"
    files = {
        "train-item-views.csv": "sessionId;userId;itemId;timeframe;eventdate\n5;NA;81;60000;2016-05-09\n5;NA;82;0;2016-05-09\n",
        "train-purchases.csv": "sessionId;userId;timeframe;eventdate;ordernumber;itemId\n5;NA;90000;2016-05-09;3;81\n",
        "products.csv": "itemId;pricelog2;product.name.tokens\n81;3;12,13\n82;4;14\n",
        "product-categories.csv": "itemId;categoryId\n81;7\n",
    }
    in_lake = {"catalog": 2, "events": 3}

    def test_time_is_the_day_plus_milliseconds(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        events = rows(workspace, "events").sort("timestamp")
        assert [f"{at:%H:%M:%S}" for at in events["timestamp"]] == ["00:00:00", "00:01:00", "00:01:30"]
        assert events["user_id"].unique().to_list() == ["5"]
        item = rows(workspace, "catalog").sort("item_id").row(0, named=True)
        assert (item["price"], item["category"]) == (8.0, "7")


class TestOtto(ConnectorContract):
    platform = "otto"
    label = "OTTO sessions"
    files = {
        "train.jsonl": lines(
            {"session": 1, "events": [{"aid": 5, "ts": 1660000000000, "type": "clicks"}]},
            {
                "session": 2,
                "events": [{"aid": 5, "ts": 1660000000000, "type": t} for t in ("clicks", "carts", "orders")],
            },
        )
    }
    in_lake = {"events": 4}
    bad = {"train.jsonl": lines({"session": 1, "events": [{"aid": None, "ts": 1660000000000, "type": "clicks"}]})}
    bad_rule = "item"


class TestHm(ConnectorContract):
    platform = "hm"
    label = "H&M"
    files = {
        "transactions_train.csv": "t_dat,customer_id,article_id,price,sales_channel_id\n2019-01-02,aa,0100,0.05,2\n"
        "2019-01-02,aa,0100,0.05,2\n2019-01-03,aa,0100,0.05,2\n",
        "articles.csv": "article_id,product_code,prod_name,product_type_name,product_group_name,index_group_name,"
        "colour_group_name,detail_desc\n0100,01,Warm Sock,Socks,Legwear,Ladieswear,Blue,A sock\n",
    }
    in_lake = {"catalog": 1, "events": 3}

    def test_two_equal_lines_are_two_pieces_and_zeros_stay(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        assert rows(workspace, "events")["item_id"].to_list() == ["0100"] * 3
        (sock,) = rows(workspace, "catalog").rows(named=True)
        assert sock["category"] == "Ladieswear > Legwear > Socks"
        assert json.loads(sock["attributes"])["group"] == "01"


class TestInstacart(ConnectorContract):
    platform = "instacart"
    label = "Instacart"
    options = SourceOptions(first_day="2017-01-01")
    files = {
        "orders.csv": "order_id,user_id,eval_set,order_number,order_dow,order_hour_of_day,days_since_prior_order\n"
        "1,9,prior,1,2,08,\n2,9,prior,2,3,07,15.0\n",
        "order_products__prior.csv": "order_id,product_id,add_to_cart_order,reordered\n1,50,1,0\n2,50,1,1\n",
        "products.csv": "product_id,product_name,aisle_id,department_id\n50,Green Tea,3,4\n",
        "aisles.csv": "aisle_id,aisle\n3,tea\n",
        "departments.csv": "department_id,department\n4,beverages\n",
    }
    in_lake = {"catalog": 1, "events": 2}

    def test_times_add_up_from_the_first_day(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        times = [f"{at:%Y-%m-%d %H}" for at in rows(workspace, "events")["timestamp"].sort()]
        assert times == ["2017-01-01 08", "2017-01-16 07"]
        assert rows(workspace, "catalog")["category"].to_list() == ["beverages > tea"]

    def test_without_a_first_day_it_is_asked_for(self, tmp_path: Path, workspace: Workspace) -> None:
        with pytest.raises(DataError, match="--first-day 2017-01-01"):
            take(workspace, spec_of(tmp_path / "files", self.files))


RETAIL = (
    "Invoice,StockCode,Description,Quantity,InvoiceDate,Price,Customer ID,Country\n"
    "5001,10001,RED LAMP,2,12/1/10 8:26,2.50,17001,Norway\n5001,10001,RED LAMP,1,12/1/10 8:26,2.50,17001,Norway\n"
    "5001,POST,POSTAGE,1,12/1/10 8:26,18.00,17001,Norway\n5002,10002,,4,12/13/10 9:00,1.00,,Norway\n"
    "C5003,10001,RED LAMP,-1,12/14/10 9:00,2.50,17001,Norway\n5004,10002,damaged,-9,12/14/10 9:00,0,,Norway\n"
)


class TestOnlineRetail(ConnectorContract):
    platform = "online-retail"
    label = "Online Retail"
    files = {"retail.csv": RETAIL}
    in_lake = {"catalog": 2, "events": 3}
    left_out = {"no product: POST": 1, "correction of stock": 1}
    bad = {"retail.csv": RETAIL.replace("10002,,4,", "10002,,many,")}
    bad_rule = "quantity"

    def test_lines_of_a_product_are_summed_and_c_is_a_return(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        events = rows(workspace, "events").sort("timestamp").rows(named=True)
        assert [(e["user_id"], e["event_type"], e["value"]) for e in events] == [
            ("17001", "purchase", 7.5),
            ("order:5002", "purchase", 4.0),
            ("17001", "return", 2.5),
        ]

    def test_the_workbook_is_read_like_the_text(self, tmp_path: Path, workspace: Workspace) -> None:
        workbook = io.BytesIO()
        frame = pl.read_csv(io.StringIO(RETAIL), infer_schema=False)
        frame.write_excel(workbook)
        take(workspace, self.spec(tmp_path, {"retail.xlsx": workbook.getvalue()}))
        assert rows(workspace, "events").height == 3


RATINGS = "USER_ID,ITEM_ID,RATING,TIMESTAMP\n" + "".join(f"u{n},i{n},{n},1500000000\n" for n in range(1, 11))


class TestPersonalize(ConnectorContract):
    platform = "personalize"
    label = "Amazon Personalize (CSV)"
    files = {
        "interactions.csv": "USER_ID,ITEM_ID,EVENT_TYPE,EVENT_VALUE,TIMESTAMP\nu,i,Watch,3,1500000000\n"
        "u,i,Purchase,9.5,1500000001\nu,i,Wave,1,1500000002\n",
        "items.csv": "ITEM_ID,TITLE,GENRES,CATEGORY_L1,PRICE\ni,Red Kite,Toy|Outdoor,Games,12.50\n",
        "users.csv": "USER_ID,AGE\nu,33\n",
    }
    in_lake = {"catalog": 1, "events": 2}
    left_out = {"Wave": 1, "shopper attributes": 1}
    bad = {"interactions.csv": "USER_ID,ITEM_ID,TIMESTAMP\nu,NA,1500000000\n"}
    bad_rule = "not_an_id"

    def test_lists_are_separated_by_bars(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        (item,) = rows(workspace, "catalog").rows(named=True)
        assert (item["title"], item["category"], item["price"]) == ("Red Kite", "Games", 12.5)
        assert json.loads(item["attributes"]) == {"genres": ["Toy", "Outdoor"]}

    def test_ratings_of_another_scale_are_asked_for_and_never_halved(
        self, tmp_path: Path, workspace: Workspace
    ) -> None:
        with pytest.raises(DataError, match="--rating-scale 10"):
            take(workspace, self.spec(tmp_path, {"ratings.csv": RATINGS}))
        take(workspace, spec_of(tmp_path / "files", {"ratings.csv": RATINGS}, SourceOptions(rating_scale=(1.0, 10.0))))
        values = rows(workspace, "events")["value"].sort().to_list()
        assert (len(values), values[0], values[-1]) == (10, 1.0, 5.0)


class TestGorse(ConnectorContract):
    platform = "gorse"
    label = "Gorse"
    files = {
        "feedback.jsonl": lines(
            {"FeedbackType": "read", "UserId": "u", "ItemId": "1", "Value": 0, "Timestamp": "2026-07-01T10:00:00Z"},
            {
                "FeedbackType": "star",
                "UserId": "u",
                "ItemId": "2",
                "Timestamp": "2026-07-01 10:01:00.000000001 +0000 UTC",
            },
            {"FeedbackType": "click", "UserId": "u", "ItemId": "1", "Timestamp": "0001-01-01 00:00:00 +0000 UTC"},
            {"FeedbackType": "juggle", "UserId": "u", "ItemId": "1", "Timestamp": "2026-07-01T10:00:00Z"},
        ),
        "items.jsonl": lines(
            {
                "ItemId": "1",
                "IsHidden": False,
                "Categories": ["b", "a"],
                "Labels": {"color": ["red"]},
                "Comment": "Kite",
            },
            {"ItemId": "2", "IsHidden": True, "Categories": None, "Labels": None, "Comment": "Ball"},
        ),
    }
    in_lake = {"events": 2, "catalog": 2}
    left_out = {"no time": 1, "juggle": 1}

    def test_hidden_items_are_unavailable_and_categories_no_path(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        kite, ball = rows(workspace, "catalog").sort("item_id").rows(named=True)
        assert (kite["title"], kite["category"], kite["available"], ball["available"]) == ("Kite", "b", True, False)
        assert json.loads(kite["attributes"]) == {"categories": ["b", "a"], "color": ["red"]}
        assert dict(rows(workspace, "events").select("event_type", "value").iter_rows()) == {
            "view": None,
            "rating": 5.0,
        }


class TestMetarank(ConnectorContract):
    platform = "metarank"
    label = "Metarank events"
    common = {"timestamp": "1700000000000", "user": "u", "session": "s"}
    files = {
        "events.jsonl": lines(
            {"event": "item", "id": "e1", "timestamp": "1700000000000", "item": "p1"}
            | {"fields": [{"name": "title", "value": "Kite"}, {"name": "color", "value": ["red"]}]},
            {"event": "user", "id": "e2", "fields": []} | common,
            {"event": "ranking", "id": "e3", "fields": [{"name": "query", "value": "kite"}]}
            | {"items": [{"id": "p1"}, {"id": "p2"}]}
            | common,
            {"event": "interaction", "id": "e4", "ranking": "e3", "type": "click", "item": "p1", "fields": []} | common,
        )
    }
    in_lake = {"catalog": 1, "events": 4}
    left_out = {"user": 1}

    def test_a_ranking_is_impressions_with_places_and_a_search(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        events = rows(workspace, "events")
        shown = events.filter(pl.col("event_type") == "impression").sort("position")
        assert shown.select("item_id", "position").rows() == [("p1", 0), ("p2", 1)]
        assert events.filter(pl.col("event_type") == "search")["text"].to_list() == ["kite"]


class TestAmazon(ConnectorContract):
    platform = ""
    label = "Amazon reviews data set"
    files = {
        "meta.jsonl": lines(
            {"main_category": "Toys", "title": "Red Kite", "price": None, "details": {"UPC": "1"}, "parent_asin": "P1"}
        ),
        "reviews.jsonl": lines(
            {"rating": 4.0, "title": "Fine", "text": "It<br />flies", "asin": "V1", "parent_asin": "P1", "user_id": "u"}
            | {"timestamp": 1600000000000}
        ),
    }
    in_lake = {"catalog": 1, "reviews": 1}


class TestMovielens(ConnectorContract):
    platform = ""
    label = "MovieLens"
    files = {
        "ratings.csv": "userId,movieId,rating,timestamp\n1,10,4.5,1400000000\n",
        "movies.csv": "movieId,title,genres\n10,Kite (1999),Toy|Outdoor\n",
    }
    in_lake = {"catalog": 1, "events": 1}

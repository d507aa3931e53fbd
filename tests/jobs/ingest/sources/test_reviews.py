"""Reviews of apps and review feeds."""

from pathlib import Path

import pytest
from sources_contract import ConnectorContract, rows, spec_of, take

from jobs.ingest.sources.spec import SourceOptions
from recsys.errors import DataError
from recsys.workspace import Workspace

JUDGEME = (
    "title,body,rating,review_date,source,curated,reviewer_name,reviewer_email,product_id,product_handle,reply,ip_address,"
    "location\n"
    'Lovely,"Light, <b>warm</b> &amp; soft",5,2026-03-04 08:00:00 UTC,web,ok,Ada Sample,Ada@Example.com,77,felt-hat,,'
    "192.0.2.7,Oslo\n"
    "So so,Too small,3,13/04/2026,web,ok,Ben Sample,,77,felt-hat,,,\n"
    "Win,Buy pills,1,2026-03-05 08:00:00 UTC,web,spam,Spam Bot,,77,felt-hat,,,\n"
)
OTHERS = {
    "yotpo": "Review Title,Review Content,Review Score,Date,Product ID,Product Name,Display Name,Email\n"
    "Nice,Good hat,4,2026-03-04,77,Felt Hat,Ada S.,ada@example.com\n",
    "okendo": "reviewId,productId,rating,title,body,reviewer.name,reviewer.email,dateCreated\n"
    "r-9,77,4,Nice,Good hat,Ada S.,ada@example.com,2026-03-04T10:00:00Z\n",
    "loox": "product_handle,rating,author,email,body,created_at,photo_url,verified_purchase\n"
    "felt-hat,4,Ada S.,ada@example.com,Good hat,2026-03-04 15:20:00,,true\n",
    "shopify": "product_handle,state,rating,title,author,email,location,body,reply,created_at,replied_at\n"
    "felt-hat,published,4,Nice,Ada S.,ada@example.com,Oslo,Good hat,,2026-03-04 10:00:00 UTC,\n"
    "felt-hat,unpublished,1,Bad,Bo S.,bo@example.com,Oslo,Bad hat,,2026-03-04 10:00:00 UTC,\n",
    "stamped": "Product ID,Product Title,Author,Email,Location,Rating,Title,Body,Created At,Published\n"
    "77,Felt Hat,Ada S.,ada@example.com,Oslo,4,Nice,Good hat,2026-03-04,true\n",
}
GOOGLE = (
    '<?xml version="1.0"?><feed><version>2.4</version><publisher><name>Shop</name></publisher><reviews><review>'
    "<review_id>g1</review_id><reviewer><name>Ada S.</name><reviewer_id>u5</reviewer_id></reviewer>"
    "<review_timestamp>2026-03-04T07:00:00Z</review_timestamp><title>Fine</title><content>Warm &amp; light</content>"
    '<ratings><overall min="0" max="10">7.5</overall></ratings><products><product><product_ids><gtins><gtin>'
    "4000000000011</gtin></gtins><skus><sku>HAT-1</sku></skus></product_ids></product></products></review></reviews></feed>"
)
BAZAARVOICE = (
    '<?xml version="1.0"?><Feed xmlns="http://www.bazaarvoice.com/xs/PRR/StandardClientFeed/14.7" name="shop">'
    '<Product id="HAT-1"><ExternalId>HAT-1</ExternalId><Reviews>'
    '<Review id="1"><ModerationStatus>APPROVED</ModerationStatus><Rating>4</Rating><RatingRange>5</RatingRange>'
    "<Title>Fine</Title><ReviewText>Warm</ReviewText><SubmissionTime>2026-03-04T07:00:00.000+00:00</SubmissionTime>"
    '<UserProfileReference id="p1"><ExternalId>u5</ExternalId></UserProfileReference></Review>'
    '<Review id="2"><ModerationStatus>REJECTED</ModerationStatus><Rating>1</Rating></Review></Reviews></Product></Feed>'
)


class TestReviewsOfApps(ConnectorContract):
    platform = "reviews"
    label = "reviews of a review app (CSV)"
    files = {"judgeme.csv": JUDGEME}
    in_lake = {"reviews": 2, "aliases": 1}
    left_out = {"spam review": 1}
    later = {"judgeme.csv": JUDGEME + "New,Warm,4,2026-05-01 08:00:00 UTC,web,ok,Cy,cy@example.com,77,felt-hat,,,\n"}
    changed = {"reviews": (1, 0)}
    bad = {"judgeme.csv": JUDGEME.replace("felt-hat", "").replace(",77,", ",,")}
    bad_rule = "item_id"

    def test_texts_times_and_shoppers(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        first, second = rows(workspace, "reviews").sort("timestamp").rows(named=True)
        assert (first["item_id"], first["text"], first["rating"]) == ("felt-hat", "Light, warm & soft", 5.0)
        assert first["user_id"].startswith("u_") and second["user_id"].startswith("reviewer:")
        assert (second["timestamp"].month, second["timestamp"].day) == (4, 13)

    def test_names_places_and_addresses_are_nowhere_in_the_workspace(
        self, tmp_path: Path, workspace: Workspace
    ) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        stored = b"".join(path.read_bytes() for path in workspace.root.rglob("*") if path.is_file())
        assert not [text for text in (b"example.com", b"192.0.2.7", b"Oslo", b"Ada Sample") if text in stored]

    @pytest.mark.parametrize("app", OTHERS)
    def test_apps_are_told_by_their_header(self, app: str, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, {"reviews.csv": OTHERS[app]}))
        (review,) = rows(workspace, "reviews").rows(named=True)
        assert (review["rating"], review["text"]) == (4.0, "Good hat")
        assert review["user_id"].startswith("u_")
        assert review["item_id"] in ("felt-hat", "77")

    def test_another_scale_is_asked_for(self, tmp_path: Path, workspace: Workspace) -> None:
        header, line = OTHERS["loox"].splitlines()
        lines = [line.replace(",4,", f",{stars},").replace("ada@", f"a{stars}@") for stars in (2, 7, 8, 10)]
        files = {"loox.csv": "\n".join([header, *lines, ""])}
        with pytest.raises(DataError, match="3 of 4 ratings are above 5; say what the scale is"):
            take(workspace, self.spec(tmp_path, files))
        take(workspace, spec_of(tmp_path / "files", files, SourceOptions(rating_scale=(1.0, 10.0))))
        assert rows(workspace, "reviews")["rating"].max() == 5.0


class TestReviewFeeds(ConnectorContract):
    platform = "reviews"
    label = "review feed (XML)"
    files = {"google.xml": GOOGLE, "bazaarvoice.xml": BAZAARVOICE}
    in_lake = {"reviews": 2}
    left_out = {"rejected review": 1}
    bad = {"google.xml": GOOGLE.replace("<sku>HAT-1</sku>", "").replace("<gtin>4000000000011</gtin>", "")}
    bad_rule = "item_id"

    def test_ratings_are_on_one_scale(self, tmp_path: Path, workspace: Workspace) -> None:
        take(workspace, self.spec(tmp_path, self.files))
        ratings = dict(rows(workspace, "reviews").select("review_id", "rating").iter_rows())
        assert ratings == {"g1": 4.0, "1": 4.0}
        assert rows(workspace, "reviews")["item_id"].unique().to_list() == ["HAT-1"]

"""`recsys simulate`: the sample storefront's shoppers live with the system, day by day and night by night."""
